-- Rolled back: it shows that a row could be written.
INSERT INTO usher.decisions (issued_at, result, reason, caller_kind, request_id, replica, personal_digest, digest)
VALUES (clock_timestamp(), 'denied', 'probe', 'operator', 'probe', 'probe', sha256(''), sha256(''))
