"""Makes installed packages on disk, with metadata and record as an installer writes them."""

import base64
import hashlib
import shutil
from pathlib import Path

TEXTS = {
    "mit": "Permission is hereby granted, free of charge, to any person obtaining a copy of this software",
    "apache": "Apache License\nVersion 2.0, January 2004\n",
    "bsd3": "Redistributions of source code must retain the notice.\nNeither the name of the author nor the names of "
    "its contributors may be used to endorse or promote products",
    "bsd2": "Redistributions of source code must retain the notice.",
}


def made(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    licence: str = "",
    field: str = "",
    classifiers: tuple[str, ...] = (),
    text: str = "",
    requires: tuple[str, ...] = (),
) -> Path:
    """A package with one module; `text` names one of TEXTS as its licence file. Replaces another version."""
    module_name = name.replace("-", "_")
    for old in folder.glob(f"{module_name}-*.dist-info"):
        shutil.rmtree(old)
    info = folder / f"{module_name}-{version}.dist-info"
    info.mkdir(parents=True)
    rows = [
        "Metadata-Version: 2.4",
        f"Name: {name}",
        f"Version: {version}",
        "Summary: A package",
        "Requires-Python: >=3.11",
    ]
    rows += [f"License-Expression: {licence}"] if licence else []
    rows += [f"License: {field}"] if field else []
    rows += [f"Classifier: License :: OSI Approved :: {one}" for one in classifiers]
    rows += [f"Requires-Dist: {one}" for one in requires]
    (info / "METADATA").write_text("\n".join(rows) + "\n")
    module = folder / module_name / "__init__.py"
    module.parent.mkdir(exist_ok=True)
    module.write_text("answer = 42\n")
    files = [module, info / "METADATA"]
    if text:
        (info / "LICENSE").write_text(TEXTS[text])
        files.append(info / "LICENSE")
    record = [f"{path.relative_to(folder)},sha256={_digest(path)},{path.stat().st_size}" for path in files]
    (info / "RECORD").write_text("\n".join([*record, f"{info.name}/RECORD,,"]) + "\n")
    return info


def _digest(path: Path) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
