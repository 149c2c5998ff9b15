"""Bytes sealed by a passphrase: scrypt, then AES-256-GCM over the whole. Pure but for the salt and the nonce.

Law: `unsealed(sealed(data, p), p) == data`; whatever was altered, in the header too, is refused like a wrong passphrase.
"""

import os

import msgspec
from cryptography import exceptions
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.kdf import scrypt

from coordinator import errors

MAGIC = b"tiercast-sealed/1\n"
CHARACTERS_MIN = 12
KEY_BYTES, SALT_BYTES, NONCE_BYTES = 32, 16, 12
COST, BLOCK, LANES = 2**17, 8, 1  # 128 MiB and about half a second for each guess
COST_MAX = 2**20  # a file must not make its reader take more than a gigabyte


class _Header(msgspec.Struct, frozen=True, array_like=True):
    cost: int
    block: int
    lanes: int
    salt: bytes
    nonce: bytes


class _File(msgspec.Struct, frozen=True, array_like=True):
    header: bytes
    body: bytes


def check(passphrase: str) -> None:
    """Raises `UsageError` where it is too short to be worth anything."""
    if len(passphrase) < CHARACTERS_MIN:
        raise errors.UsageError(
            f"the passphrase is too short (got {len(passphrase)} characters, have need of {CHARACTERS_MIN})",
            hint="four or five random words are good",
        )


def sealed(data: bytes, passphrase: str) -> bytes:
    """Raises `UsageError` on a passphrase that is too short."""
    check(passphrase)
    header = _Header(COST, BLOCK, LANES, os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES))
    encoded = msgspec.msgpack.encode(header)
    body = aead.AESGCM(_key(header, passphrase)).encrypt(header.nonce, data, MAGIC + encoded)
    return MAGIC + msgspec.msgpack.encode(_File(encoded, body))


def unsealed(file: bytes, passphrase: str) -> bytes:
    """Raises `DamagedError` where it is no such file, `NotAllowedError` where the passphrase or anything of it is wrong."""
    if not file.startswith(MAGIC):
        raise errors.DamagedError("this is no file of sealed keys")
    try:
        parts = msgspec.msgpack.decode(file[len(MAGIC) :], type=_File)
        header = msgspec.msgpack.decode(parts.header, type=_Header)
        if not (1 < header.cost <= COST_MAX and header.block == BLOCK and header.lanes == LANES):
            raise errors.DamagedError(f"sealed at a cost that nobody asks for (got {header.cost})")
        key = _key(header, passphrase)
        return aead.AESGCM(key).decrypt(header.nonce, parts.body, MAGIC + parts.header)
    except exceptions.InvalidTag as wrong:
        raise errors.NotAllowedError("the passphrase is wrong, or the file was altered") from wrong
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as wrong:
        raise errors.DamagedError(f"the file of sealed keys cannot be read: {wrong}") from wrong


def _key(header: _Header, passphrase: str) -> bytes:
    made = scrypt.Scrypt(header.salt, KEY_BYTES, header.cost, header.block, header.lanes)
    return made.derive(passphrase.encode(errors="surrogateescape"))
