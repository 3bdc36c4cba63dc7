"""The container files name only what is there. No engine runs here: they are read, not built."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()


def _lines() -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def _compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())
    return parsed


def test_every_copied_path_exists_and_reaches_the_builder() -> None:
    """A COPY of what is not there, or what the ignore file holds back, fails only at build time."""
    copies = [shlex.split(line)[1:-1] for line in _lines() if line.startswith("COPY ") and "--from" not in line]
    paths = [path for copy in copies for path in copy]
    let_in = (ROOT / "docker" / "Dockerfile.dockerignore").read_text()
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path
        assert f"!{path}\n" in let_in


def test_what_the_build_needs_is_copied() -> None:
    """pyproject names files of its own: without them the wheel is not built."""
    project = (ROOT / "pyproject.toml").read_text()
    for named in re.findall(r'readme = "([^"]+)"|license-files = \["([^"]+)"\]|packages = \["([^"]+)"\]', project):
        assert any(" ".join(named).strip() in line for line in _lines() if line.startswith("COPY"))


def test_the_image_runs_the_command_as_nobody_special_and_keeps_its_state() -> None:
    """Not root; job records on a volume that the environment names."""
    lines = _lines()
    user = next(number for number, line in enumerate(lines) if line.startswith("USER "))
    assert lines[user] not in ("USER root", "USER 0")
    assert 'VOLUME ["/state"]' in lines
    assert "TRANSFER_STATE=/state" in DOCKERFILE
    assert lines[-2:] == ['ENTRYPOINT ["transfer"]', 'CMD ["--help"]']
    stages = [line for line in lines if line.startswith("FROM ")]
    assert stages == ["FROM python:3.12-slim AS build", "FROM python:3.12-slim"]


def test_compose_starts_two_servers_and_the_demo_after_them() -> None:
    """The demo waits until both answer, builds from the Dockerfile, and keeps its state on a declared volume."""
    compose = _compose()
    services = compose["services"]
    assert set(services) == {"source", "target", "demo"}
    demo = services["demo"]
    assert {name: wait["condition"] for name, wait in demo["depends_on"].items()} == {
        "source": "service_healthy",
        "target": "service_healthy",
    }
    context = (ROOT / "docker" / demo["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / demo["build"]["dockerfile"]).exists()
    assert {volume.split(":")[0] for volume in demo["volumes"]} == set(compose["volumes"])
    for server in (services["source"], services["target"]):
        assert server["image"].startswith("valkey/valkey:")
        assert server["healthcheck"]["test"]


def test_the_demo_of_compose_is_fill_copy_verify_on_the_servers_it_has() -> None:
    """Every command is one of ours, every URL a service of the file."""
    compose = _compose()
    (script,) = compose["services"]["demo"]["command"]
    commands = [shlex.split(line) for line in script.splitlines()]
    assert commands[0][:3] == ["transfer", "demo", "fill"]
    assert ["transfer", "copy", "redis://source", "redis://target", "--yes"] in commands
    assert commands[-1] == ["transfer", "demo", "verify", "redis://target"]
    assert {word for command in commands for word in command if "://" in word} == {"redis://source", "redis://target"}
