"""Carries out a Plan so that a crash loses nothing."""
