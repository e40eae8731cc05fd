"""Makes .venv and installs a requirements file into it. Standard library only: runs before anything is there.

    python3 -m opsconsole.install requirements.txt

Does nothing when the file was installed before. Only prebuilt packages are taken; a build is tried only
where there is a compiler. The syntax stays old, so that an old Python can still say it is too old.
"""

import hashlib
import os
import shutil
import subprocess
import sys

UV = "uv==0.13.8"
LEAST = (3, 11)
# The second holds everything the first does.
RUN, DEV = "requirements.txt", "requirements-dev.txt"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")


def main(arguments):
    # type: (list[str]) -> int
    if sys.version_info < LEAST:
        return refuse("opsconsole needs Python 3.11 or newer; this is %d.%d." % sys.version_info[:2])
    wanted = arguments[0] if arguments else RUN
    if is_installed(wanted) or (wanted == RUN and is_installed(DEV)):
        return 0
    os.chdir(ROOT)
    if not os.path.exists(python()) and not make_venv():
        return 1
    say("Installing the packages of %s" % wanted)
    if not (with_uv(wanted) or with_pip(wanted)):
        return 1
    with open(stamp_path(wanted), "w") as file:
        file.write(fingerprint(wanted))
    return 0


def make_venv():
    # type: () -> bool
    say("Making .venv with Python %d.%d" % sys.version_info[:2])
    made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True)
    if made.returncode == 0:
        return True
    shutil.rmtree(VENV, ignore_errors=True)
    if "ensurepip" in made.stdout + made.stderr:
        refuse(
            "This Python cannot make virtual environments: install its venv module (Debian: python3-venv)."
        )
    else:
        refuse("Cannot make .venv: %s" % last_line(made.stderr or made.stdout))
    return False


def with_uv(wanted):
    # type: (str) -> bool
    """Three times as fast as pip. Not everybody's package index is known to it: pip is the way back."""
    uv = os.path.join(VENV, "bin", "uv")
    if not os.path.exists(uv):
        got = subprocess.run([python(), "-m", "pip", "install", "-q", "--no-input", UV], capture_output=True)
        if got.returncode != 0:
            return False
    env = dict(os.environ)
    env.setdefault("UV_SYSTEM_CERTS", "true")  # as pip and the browser do: companies have CAs of their own
    for pips, uvs in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_CERT", "SSL_CERT_FILE")):
        if pips in env:
            env.setdefault(uvs, env[pips])
    command = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        python(),
        "--require-hashes",
        "--no-build",
        "-r",
        wanted,
    ]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        say("uv could not install them (%s)" % last_line(done.stderr))
    return done.returncode == 0


def with_pip(wanted):
    # type: (str) -> bool
    say("Installing with pip; this takes a minute")
    command = [python(), "-m", "pip", "install", "-q", "--no-input", "--require-hashes", "-r", wanted]
    first = subprocess.run([*command, "--only-binary", ":all:"], capture_output=True, text=True)
    if first.returncode == 0:
        return True
    if not (shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")):
        refuse(
            "Not every package could be had prebuilt for this machine, and there is no C compiler to build it "
            "with: install one (Debian: build-essential). pip said: %s" % last_line(first.stderr)
        )
        return False
    second = subprocess.run(command, capture_output=True, text=True)
    if second.returncode != 0:
        refuse("The packages could not be installed: %s" % last_line(second.stderr))
    return second.returncode == 0


def python():
    # type: () -> str
    return os.path.join(VENV, "bin", "python")


def stamp_path(wanted):
    # type: (str) -> str
    return os.path.join(VENV, ".installed-" + wanted)


def is_installed(wanted):
    # type: (str) -> bool
    try:
        with open(stamp_path(wanted)) as file:
            return file.read() == fingerprint(wanted)
    except OSError:
        return False


def fingerprint(wanted):
    # type: (str) -> str
    with open(os.path.join(ROOT, wanted), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def last_line(text):
    # type: (str) -> str
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"


def say(sentence):
    # type: (str) -> None
    print(sentence, flush=True)


def refuse(sentence):
    # type: (str) -> int
    print(sentence, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
