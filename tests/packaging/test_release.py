"""A release is consistent: one version, a changelog entry for it, a workflow that checks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import lunos_core

ROOT = Path(__file__).parents[2]
VERSION = lunos_core.__version__
WHEEL, SDIST = (
    f"lunos_integrations-{VERSION}-py3-none-any.whl",
    f"lunos_integrations-{VERSION}.tar.gz",
)


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make dist`: the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done = run("-m", "build", "--no-isolation", "--outdir", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_both_files_have_the_version_and_pass_the_index_own_check(dist: Path) -> None:
    files = sorted(path.name for path in dist.iterdir())
    assert files == sorted([WHEEL, SDIST])
    done = run("-m", "twine", "check", "--strict", *(str(dist / name) for name in files))
    assert done.returncode == 0, done.stdout


def test_the_wheel_is_small(dist: Path) -> None:
    # 350,000 before the usage store, the command line and the gateway's page came; nothing but
    # source may be in it, so that it grows by code alone; 450,000 before the dashboard came, whose
    # charting library (uPlot) takes 22,000; 480,000 before bulk work, speech, videos and metrics
    assert (dist / WHEEL).stat().st_size < 540_000
    with zipfile.ZipFile(dist / WHEEL) as wheel:
        inside = [name for name in wheel.namelist() if ".dist-info/" not in name]
    source = {".py", ".typed", ".html", ".jinja", ".js", ".css"}
    assert {Path(name).suffix for name in inside} == {*source, ".LICENSE"}


def test_the_sdist_has_what_its_tests_need_and_no_recordings(dist: Path) -> None:
    with tarfile.open(dist / SDIST) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "constraints.txt",
        "tests/conftest.py",
    } <= inside
    assert not [name for name in inside if name.startswith(("cassettes/", ".venv", ".nox", "dist"))]


def test_the_version_is_written_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    places = [
        path.relative_to(ROOT).as_posix()
        for package in ROOT.glob("l*")
        if package.is_dir()
        for path in package.rglob("*.py")
        if re.search(r"^__version__ *= *[\"']", path.read_text("utf-8"), re.M)
    ]
    assert places == ["lunos_core/_version.py"]


def check(tag: str, dist: Path, changelog: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "check_release.py", tmp_path / "scripts")
    (tmp_path / "CHANGELOG.md").write_text(changelog, "utf-8")
    return run("scripts/check_release.py", tag, str(dist), cwd=tmp_path)


def released(version: str) -> str:
    return f"# Changelog\n\n## [Unreleased]\n\n## [{version}] - 2026-12-01\n\n### Added\n\n- All.\n"


def test_a_release_whose_tag_files_and_changelog_agree_goes_out(dist: Path, tmp_path: Path) -> None:
    done = check(f"v{VERSION}", dist, released(VERSION), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("tag", "changelog", "problem"),
    [
        (VERSION, released(VERSION), "must be v and a version"),
        ("v9.9.9", released("9.9.9"), "the tag asks for"),
        (f"v{VERSION}", released("9.9.9"), "CHANGELOG.md must begin"),
        (f"v{VERSION}", "# Changelog\n\n## [Unreleased]\n", "CHANGELOG.md must begin"),
    ],
)
def test_a_release_whose_parts_disagree_is_stopped(
    dist: Path, tmp_path: Path, tag: str, changelog: str, problem: str
) -> None:
    done = check(tag, dist, changelog, tmp_path)
    assert done.returncode == 1
    assert problem in done.stderr


def test_the_changelog_is_for_this_version() -> None:
    """Its newest section is this version, or it announces this version as the next one."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    sections = re.findall(r"^## \[([^\]]+)\]", text, re.M)
    assert sections[0] == "Unreleased"
    unreleased = text.split("## [Unreleased]")[1].split("\n## [")[0]
    newest = sections[1] if sections[1:] else None
    assert newest == VERSION or f"the first version will be {VERSION}" in " ".join(
        unreleased.split()
    )


def test_the_workflow_publishes_what_was_checked_without_a_secret() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    assert (jobs["build"]["needs"], jobs["publish"]["needs"]) == ("check", "build")
    targets = set(re.findall(r"make PYTHON=python ([\w ]+)", text)[0].split())
    assert {"lint", "types", "test"} <= targets
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert not re.search(r"secrets\.|password|(?<!id-)token:|https?://", text)
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]
