-- One at a time migrates. Who only reads the table is not held up, and nobody
-- but the owner can take this lock.
LOCK TABLE usher.migrations IN SHARE ROW EXCLUSIVE MODE
