"""What pyproject.toml cannot say: folders beside the package go into the wheel, as lart_mini/shipped/…"""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

SHIPPED = {
    "benchmarks": ["*.json", "*.parquet"],  # stored results that notebooks show
    "data_samples": ["**/*"],
    "notebooks": ["*.ipynb"],
    "profiles": ["*.yaml"],
}


class BuildWithData(build_py):
    """Take data alone from shipped folders: the scripts of benchmarks/ belong to the checkout."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        shipped = package.startswith("lart_mini.shipped.")
        return [] if shipped else super().find_package_modules(package, package_dir)


setup(
    cmdclass={"build_py": BuildWithData},
    packages=find_packages(include=["lart_mini*"]) + [f"lart_mini.shipped.{name}" for name in SHIPPED],
    package_dir={f"lart_mini.shipped.{name}": name for name in SHIPPED},
    package_data={f"lart_mini.shipped.{name}": patterns for name, patterns in SHIPPED.items()},
)
