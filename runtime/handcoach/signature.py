"""Who vouches for a model file: an Ed25519 signature in its metadata, and the therapist's key.

What is signed. An ONNX file is a protobuf message; its metadata are the message's entries number 14
(`metadata_props`). The signature is such an entry of its own, with the key `handcoach-signature` and as value
a JSON object of three texts:

    {"algorithm": "ed25519", "key": public key, 32 bytes in hex, "signature": 64 bytes in hex}

Signed are the bytes PREFIX + SHA-256(the file without that entry): every other byte, in its order. There is
no canonical form to be found and none to be argued about: whether the entry is there or not, and wherever it
stands, a file has one digest. `onnx_file.py` finds the entry and takes the digest.

What it is worth. A file that was changed since is refused. But whoever changes a file can also take the
signature out, or sign anew with a key of his own: the patient must compare the fingerprint, which `handcoach
run` and `handcoach exercise show` print, with the therapist's, told in person.

The key is a PKCS #8 file without a password in the therapist's user folder, readable by its owner only.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from handcoach import places
from handcoach.errors import HandCoachError

METADATA_KEY = "handcoach-signature"
PREFIX = b"HandCoach model file, signature 1\n"


class SignatureError(HandCoachError):
    """A signature is wrong, or there is no key or library. Of a file, the message begins after its name."""


class KeyTrouble(SignatureError):
    """There is a key, and it is not usable; or a new one cannot be written."""

    key = "key_trouble"


def _cryptography() -> tuple[Any, Any]:
    """The Ed25519 and serialization modules; imported for a signed file only, as it takes 50 ms."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SignatureError(
            f"Signatures need the package cryptography ({error}): "
            f"run {sys.executable} -m pip install cryptography."
        ) from error
    return ed25519, serialization


def fingerprint(public: bytes) -> str:
    """What people compare: 128 bits of the public key's SHA-256, as eight groups of four hex digits."""
    digits = hashlib.sha256(public).hexdigest()[:32]
    return "-".join(digits[i : i + 4] for i in range(0, 32, 4))


def verify(entry: str, digest: bytes) -> str:
    """Check a signature.

    Args:
        entry: value of the metadata entry.
        digest: SHA-256 of the file without the entry.

    Returns:
        the fingerprint of the key that signed.

    Raises:
        SignatureError: the file was changed since, or the entry is none; or cryptography is missing.
    """
    try:
        fields = json.loads(entry)
        if not isinstance(fields, dict) or fields.get("algorithm") != "ed25519":
            raise ValueError
        public, signature = bytes.fromhex(fields["key"]), bytes.fromhex(fields["signature"])
        if len(public) != 32 or len(signature) != 64:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureError(
            "has a signature that this HandCoach cannot read; update HandCoach or ask for the file again"
        ) from error
    try:
        ed25519, _ = _cryptography()
    except SignatureError as error:
        raise SignatureError(
            f"is signed, but that cannot be checked here: {str(error).rstrip('.')}"
        ) from error
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, PREFIX + digest)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(
            "was changed after it was signed; do not use it, and ask your therapist for it again"
        ) from error
    return fingerprint(public)


# --- The therapist's key -------------------------------------------------------------------------------


def key_file() -> Path:
    return places.user_folder() / "signing-key.pem"


def make_key() -> bool:
    """Make this user's key if there is none; True if it was made.

    Raises:
        SignatureError: it cannot be written, or cryptography is missing.
    """
    ed25519, serialization = _cryptography()
    path = key_file()
    if path.exists():
        return False
    text = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        places.save(path, text, mode=0o600, replace=False)
        if _open_to_others(path):
            path.unlink()
            raise KeyTrouble(
                f"The disk of {path} keeps no permissions: set HANDCOACH_HOME to another folder."
            )
    except FileExistsError:  # two were made at once: the first one's fingerprint may be told already
        return False
    except OSError as error:
        raise KeyTrouble(
            f"The key {path} cannot be written ({error.strerror or error}): make that folder writable."
        ) from error
    return True


def _open_to_others(path: Path) -> bool:
    return os.name == "posix" and bool(path.stat().st_mode & 0o077)


def _key() -> Any:
    ed25519, serialization = _cryptography()
    path = key_file()
    try:
        if _open_to_others(path):
            raise KeyTrouble(f"The key {path} can be read by others: run chmod 600 on it.")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise ValueError("another kind of key")
    except FileNotFoundError as error:
        raise SignatureError("You have no key yet: make one with `handcoach exercise key`.") from error
    except (OSError, ValueError, TypeError) as error:
        raise KeyTrouble(
            f"The key {path} cannot be read: put back a copy, or move it away and make a new one."
        ) from error
    return key


def _public(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes_raw())


def own_fingerprint() -> str:
    """Of this user's key. Raises SignatureError where there is none."""
    return fingerprint(_public(_key()))


def sign(digest: bytes) -> str:
    """The value of the metadata entry for a file with this digest, signed with this user's key.

    Raises:
        SignatureError: there is no key, or it cannot be read; or cryptography is missing.
    """
    key = _key()
    return json.dumps(
        {
            "algorithm": "ed25519",
            "key": _public(key).hex(),
            "signature": key.sign(PREFIX + digest).hex(),
        }
    )
