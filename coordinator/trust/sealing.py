"""Sealing bytes to one server: only the holder of its private key can open them. Pure but for the randomness of the cipher.

ECDH over P-256 with a key of this message alone, HKDF-SHA256, AES-256-GCM: the servers' own keys are enough, nothing else
has to be kept. Law: `opened(key, sealed(public(key), data, to), to) == data`; any other key, addressee or byte opens nothing.
"""

import os

import msgspec
from cryptography import exceptions
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.kdf import hkdf

from coordinator import errors
from coordinator.trust import certificates

_DOMAIN = b"tiercast/1 sealed to "
_KEY_BYTES = 32
_NONCE_BYTES = 12


class _Box(msgspec.Struct, frozen=True, array_like=True):
    public: bytes
    """Of this message alone; uncompressed point."""
    nonce: bytes
    data: bytes


def sealed(public_pem: bytes, data: bytes, to: str) -> bytes:
    """`to` names the addressee; it is bound to the box. Raises `IdentityError` on a key that is not P-256."""
    once = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PublicFormat.UncompressedPoint
    point = once.public_key().public_bytes(serialization.Encoding.X962, form)
    nonce = os.urandom(_NONCE_BYTES)
    shared = once.exchange(ec.ECDH(), certificates.public_key(public_pem))
    box = aead.AESGCM(_derived(shared, point, to)).encrypt(nonce, data, to.encode())
    return msgspec.msgpack.encode(_Box(point, nonce, box))


def opened(key_pem: bytes, box: bytes, to: str) -> bytes:
    """Raises `DamagedError` where it is not for this key and addressee, or altered."""
    try:
        found = msgspec.msgpack.decode(box, type=_Box)
        once = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), found.public)
        shared = certificates.private_key(key_pem).exchange(ec.ECDH(), once)
        return aead.AESGCM(_derived(shared, found.public, to)).decrypt(found.nonce, found.data, to.encode())
    except (msgspec.DecodeError, ValueError, UnicodeDecodeError, exceptions.InvalidTag) as wrong:
        raise errors.DamagedError("what is sealed here is not for this server, or was altered") from wrong


def _derived(shared: bytes, point: bytes, to: str) -> bytes:
    return hkdf.HKDF(hashes.SHA256(), _KEY_BYTES, point, _DOMAIN + to.encode()).derive(shared)
