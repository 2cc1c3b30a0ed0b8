"""Which distribution owns which import name, and which sets of distributions are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from freeze import ownership
from freeze.ownership import Distribution, OwnershipError, Unit


def dist(name: str, *files: str, version: str = "1.0") -> Distribution:
    return Distribution(name, version, files)


def names(*dists: Distribution) -> list[str]:
    return [unit.name for unit in ownership.units(dists)]


def refused(*dists: Distribution) -> str:
    with pytest.raises(OwnershipError) as caught:
        ownership.units(dists)
    return str(caught.value)


def test_multipart_and_python_multipart_are_refused_and_both_named() -> None:
    message = refused(
        dist("multipart", "multipart.py", "multipart-1.3.0.dist-info/RECORD", version="1.3.0"),
        dist("python-multipart", "multipart/__init__.py", "python_multipart/__init__.py", version="0.0.21"),
    )
    assert "'multipart'" in message
    assert "multipart 1.3.0 (multipart.py)" in message
    assert "python-multipart 0.0.21 (multipart/__init__.py)" in message
    assert "python_multipart" not in message


def test_two_regular_packages_of_one_name_are_refused() -> None:
    assert "'yaml'" in refused(dist("a", "yaml/__init__.py"), dist("b", "yaml/__init__.py"))


def test_a_file_slipped_into_the_package_of_another_is_refused() -> None:
    assert "'httpx'" in refused(dist("httpx", "httpx/__init__.py"), dist("patch", "httpx/extra.py"))


def test_a_native_module_counts_as_the_name_it_imports_as() -> None:
    assert "'jiter'" in refused(dist("a", "jiter.py"), dist("b", "jiter.cpython-311-x86_64-linux-gnu.so"))


def test_every_conflict_is_reported_not_only_the_first() -> None:
    message = refused(dist("a", "x.py", "y.py"), dist("b", "x.py", "y.py"))
    assert "'x'" in message
    assert "'y'" in message


def test_a_real_namespace_may_be_shared_as_long_as_the_members_differ() -> None:
    assert names(
        dist("langgraph", "langgraph/graph/__init__.py", "langgraph/types.py"),
        dist("langgraph-prebuilt", "langgraph/prebuilt/__init__.py"),
    ) == ["langgraph.graph", "langgraph.prebuilt", "langgraph.types"]


def test_the_same_member_of_a_namespace_is_refused() -> None:
    message = refused(dist("a", "google/protobuf/__init__.py"), dist("b", "google/protobuf/__init__.py"))
    assert "'google.protobuf'" in message


def test_a_namespace_that_one_of_its_owners_makes_regular_is_refused() -> None:
    assert "'google'" in refused(dist("a", "google/__init__.py"), dist("b", "google/protobuf/__init__.py"))


def test_a_name_of_the_standard_library_is_refused() -> None:
    assert "standard library" in refused(dist("typing-old", "typing.py"))


def test_scripts_metadata_stubs_and_caches_are_not_import_names() -> None:
    found = dist(
        "tiktoken",
        "../../../bin/tool",
        "tiktoken-1.dist-info/METADATA",
        "google-stubs/protobuf/any.pyi",
        "__pycache__/tiktoken.cpython-311.pyc",
        "tiktoken/__init__.py",
        "tiktoken/py.typed",
        "tiktoken_ext/openai_public.py",
    )
    assert names(found) == ["tiktoken", "tiktoken_ext.openai_public"]


def test_units_carry_their_distribution() -> None:
    assert ownership.units([dist("PyYAML", "yaml/__init__.py")]) == [Unit("yaml", "PyYAML", "1.0")]


def install(site: Path, name: str, version: str, record: str) -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (info / "RECORD").write_text(record, encoding="utf-8")


def test_installed_reads_what_the_lock_names_and_nothing_else(tmp_path: Path) -> None:
    install(tmp_path, "Some.Thing", "2.0", "some_thing.py,,\n")
    install(tmp_path, "pytest", "9.0", "pytest.py,,\n")
    found = ownership.installed(tmp_path, {"some-thing": "2.0", "only-on-windows": "1.0"})
    assert found == [Distribution("some-thing", "2.0", ("some_thing.py",))]


def test_a_version_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    install(tmp_path, "thing", "2.1", "thing.py,,\n")
    with pytest.raises(OwnershipError, match=r"thing is installed as 2\.1 but locked as 2\.0"):
        ownership.installed(tmp_path, {"thing": "2.0"})


def test_the_conflict_is_found_from_installed_metadata_too(tmp_path: Path) -> None:
    install(tmp_path, "multipart", "1.3.0", "multipart.py,,\n")
    install(tmp_path, "python_multipart", "0.0.21", "multipart/__init__.py,,\npython_multipart/__init__.py,,\n")
    found = ownership.installed(tmp_path, {"multipart": "1.3.0", "python-multipart": "0.0.21"})
    assert "multipart 1.3.0 (multipart.py) and python-multipart 0.0.21" in refused(*found)
