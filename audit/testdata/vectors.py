"""Makes vectors.json from the description of the encodings in record.go, with
nothing of the Go code: python3 vectors.py > vectors.json"""

import hashlib
import ipaddress
import json
from datetime import datetime, timezone

VERSION = 1


def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(value):
    return b"\0" if value is None else varint(len(value) + 1) + value


def text(value):
    return field(None if value is None else value.encode())


def number(n):
    return field(n.to_bytes(8, "big", signed=True))


def micros(stamp):
    at = datetime.fromisoformat(stamp.replace("Z", "+00:00")) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (at.days * 86400 + at.seconds) * 1_000_000 + at.microseconds


def when(stamp):
    return b"\0" if stamp is None else number(micros(stamp))


def listed(items):
    return varint(len(items) + 1) + b"".join(items)


def patterns(kinds):
    if kinds is None:
        return b"\0"
    rules = {kind: sorted(kinds[kind].items(), key=lambda rule: rule[0].encode()) for kind in sorted(kinds)}
    return listed([text(kind) + listed([text(p) + text(a) for p, a in rules[kind]]) for kind in rules])


def ids(values):
    return listed([number(v) for v in values]) if values else b"\0"


def personal_digest(salt, ip, user_agent, origin):
    address = None
    if ip:
        network = ipaddress.ip_interface(ip)
        address = network.packed + bytes([network.network.prefixlen])
    covered = bytes([VERSION]) + b"p" + field(salt) + field(address) + text(user_agent) + text(origin)
    return hashlib.sha256(covered).digest()


def decision_digest(r, personal):
    covered = bytes([VERSION]) + b"d" + when(r["issuedAt"]) + text(r["result"]) + text(r.get("reason")) + text(r["callerKind"])
    for name in ["callerId", "userId", "organizationId", "requestedOrganizationId", "audience", "room", "store", "tokenKind"]:
        covered += text(r.get(name))
    covered += patterns(r.get("patterns")) + text(r.get("claims")) + field(bytes([r.get("partial", False)])) + ids(r.get("skippedGrants"))
    covered += listed([text(w) for w in r["warnings"]]) if "warnings" in r else b"\0"
    covered += text(r.get("jti")) + text(r.get("kid")) + when(r.get("expiresAt")) + text(r["requestId"]) + text(r["replica"])
    covered += number(r.get("count", 1)) + field(personal)
    return hashlib.sha256(covered).digest()


def leaf(kind, id, recorded_at, digest):
    return hashlib.sha256(
        b"\0" + bytes([VERSION]) + kind + id.to_bytes(8, "big", signed=True) + micros(recorded_at).to_bytes(8, "big", signed=True) + digest
    ).digest()


vectors = []


def decision(name, id, record, ip="", user_agent=None, origin=None):
    salt = hashlib.sha256(name.encode()).digest()[:16]
    personal = personal_digest(salt, ip, user_agent, origin)
    digest = decision_digest(record, personal)
    vectors.append({
        "name": name, "id": id, "record": record, "salt": salt.hex(), "ip": ip, "userAgent": user_agent, "origin": origin,
        "personalDigest": personal.hex(), "digest": digest.hex(), "leaf": leaf(b"d", id, record["recordedAt"], digest).hex(),
    })


def change(name, id, c):
    # The details' own bytes count: they are written as json.dumps writes them here.
    details = json.dumps(c["details"], separators=(",", ":")) if "details" in c else None
    digest = hashlib.sha256(
        bytes([VERSION]) + b"c" + text(c["actor"]) + text(c["action"]) + text(c["target"]) + text(details)
    ).digest()
    vectors.append({
        "name": name, "id": id, "change": c, "digest": digest.hex(), "leaf": leaf(b"c", id, c["changedAt"], digest).hex(),
    })


AT, RECORDED = "2026-11-05T14:03:26Z", "2026-11-05T14:03:26.004321Z"
denial = {"issuedAt": AT, "recordedAt": RECORDED, "result": "denied", "reason": "no_credential", "callerKind": "none",
          "requestId": "R1", "replica": "usher-1"}
token = {"issuedAt": "2026-11-05T14:03:26.000001Z", "recordedAt": RECORDED, "result": "issued", "callerKind": "session",
         "callerId": "Qf2mXe", "userId": "grace", "organizationId": "acme", "audience": "liveblocks", "room": "acme:design:1",
         "tokenKind": "access", "patterns": {"rooms": {"acme:*": "read", "acme:design:*": "full", "\u00e9": "read", "z": "none"}}, "partial": True,
         "skippedGrants": [3, 5], "jti": "M4dk", "kid": "key-1", "expiresAt": "2026-11-05T14:08:26Z", "requestId": "R2",
         "replica": "usher-1"}
decision("a denial without anything", 1, denial)
decision("a flood's row", 2, denial | {"reason": "session_unknown", "count": 498}, "2001:db8::/56")
decision("a token", 3, token, "198.51.100.31/32", "Safari", "https://app.example.com")
decision("a token of both kinds", 4, token | {"patterns": {"rooms": {}, "stores": {"acme_notes": "full"}}}, "2001:db8::1/128")
decision("a backend's token", 8, token | {"organizationId": None, "requestedOrganizationId": "globex", "warnings": ["open_prefix"],
         "patterns": {"rooms": {"acme*": "full"}}, "claims": '{"perms":{"acme*":["room:write","comments:read"]}}'})
decision("an identity token", 9, token | {"tokenKind": "identity", "patterns": {}, "claims": '{"gids":["g"]}'})
decision("a time before 1970, an id below zero", -5, denial | {"issuedAt": "1969-12-31T23:59:59.999999Z"})
decision("a long text", 2**40, denial | {"requestId": "x" * 300})
change("a change", 6, {"id": 6, "changedAt": RECORDED, "actor": "cli:lin@ops", "action": "grant.add", "target": "6",
                       "details": {"pattern": "acme:*", "n": 1}})
change("a change without details", 7, {"id": 7, "changedAt": RECORDED, "actor": "usher", "action": "key.add", "target": "k"})
text_out = json.dumps(vectors, indent=1, ensure_ascii=False)
# Details stand on one line, since their bytes count.
text_out = text_out.replace("""{
    "pattern": "acme:*",
    "n": 1
   }""", """{"pattern":"acme:*","n":1}""")
print(text_out)
