"""What the package's extras install. It is on no registry, so `pip` finds no extra by name."""

PACKAGES = {
    "local": ("hydra-joblib-launcher>=1.2,<1.4",),
    "slurm": ("hydra-submitit-launcher>=1.2,<1.4",),
    "ray": ("hydra-ray-launcher>=1.2.2,<1.4",),
    "timm": ("timm>=1,<2",),
    "pandas": ("pandas>=2",),
    "avalanche": ("avalanche-lib==0.6.0",),
    "search": ("optuna>=5,<6", "sqlalchemy>=2"),
}


def install(extra: str) -> str:
    """The command that installs what it adds, from a checkout and from a wheel alike."""
    return " ".join(["pip install", *(f"'{package}'" for package in PACKAGES[extra])])
