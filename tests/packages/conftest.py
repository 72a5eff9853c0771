"""Fixtures of the tests of packages."""

from .building import packages  # noqa: F401  # a fixture, for every test here
