"""A live Redis or Valkey server as source and sink."""
