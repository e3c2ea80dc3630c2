-- The audit's evidence. A sealer orders the rows of usher.decisions and
-- usher.changes, appends them as leaves to one RFC 6962 Merkle tree, and signs
-- a checkpoint over the whole tree. Who changes a row afterwards, even as a
-- superuser, cannot make a tree that fits the checkpoints.

-- +goose Up

-- The audit's own keys, in the forms of golang.org/x/mod/sumdb/note. The
-- newest signs.
CREATE TABLE usher.checkpoint_keys (
    name       text        PRIMARY KEY CHECK (name ~ '^[^ +]+$'),
    public_key text        NOT NULL,
    sealed_key bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN usher.checkpoint_keys.name IS 'The key''s name, and the first line of its checkpoints: says whose tree it is.';
COMMENT ON COLUMN usher.checkpoint_keys.public_key IS 'As note.NewVerifier reads it.';
COMMENT ON COLUMN usher.checkpoint_keys.sealed_key IS 'As note.NewSigner reads it, sealed with table and name as additional data.';
GRANT SELECT ON usher.checkpoint_keys TO usher_service;

-- One row a seal: the leaves that it appended and the checkpoint over all
-- leaves so far. Two sealers that begin at the same leaf cannot both commit.
CREATE TABLE usher.seals (
    first_leaf        bigint      PRIMARY KEY CHECK (first_leaf >= 0),
    tree_size         bigint      NOT NULL,
    sealed_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    decisions_through bigint      NOT NULL,
    changes_through   bigint      NOT NULL,
    decision_ids      bigint[]    NOT NULL,
    change_ids        bigint[]    NOT NULL,
    first_hash        bigint      NOT NULL UNIQUE,
    hashes            bytea       NOT NULL,
    checkpoint        text        NOT NULL,
    CHECK (tree_size > first_leaf AND tree_size = first_leaf + cardinality(decision_ids) + cardinality(change_ids)),
    CHECK (octet_length(hashes) % 32 = 0)
);
-- Hashes do not compress, and are read a few at a time.
ALTER TABLE usher.seals ALTER hashes SET STORAGE EXTERNAL;
CREATE INDEX seals_decisions_through ON usher.seals (decisions_through);
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON usher.seals
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.seals
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();
-- Only what seals a key may change, with the key ring.
CREATE TRIGGER keep BEFORE DELETE ON usher.checkpoint_keys
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER reseal_only BEFORE UPDATE ON usher.checkpoint_keys
    FOR EACH ROW WHEN ((NEW.name, NEW.public_key, NEW.created_at) IS DISTINCT FROM (OLD.name, OLD.public_key, OLD.created_at))
    EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.checkpoint_keys
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();
GRANT SELECT,
      INSERT (first_leaf, tree_size, decisions_through, changes_through, decision_ids, change_ids, first_hash, hashes, checkpoint)
   ON usher.seals TO usher_service;
GRANT SELECT ON SEQUENCE usher.decisions_id_seq, usher.changes_id_seq TO usher_service;

-- The last id of a table below which nothing can appear any more: all
-- transactions that drew a smaller one have ended.
--
-- An INSERT locks its table (ROW EXCLUSIVE) before it draws an id, until its
-- transaction ends; SHARE is what waits for all of those and is held for an
-- instant. Writers so take no lock but the one that they take anyway, and
-- nobody but they and the owner can hold the barrier up, as anybody could an
-- advisory lock. While this waits for a slow writer, others queue up behind it:
-- it gives up after 50 ms (55P03), to be tried again. Each table has a barrier
-- of its own, so that an administrator's long transaction delays the sealing of
-- changes alone.
-- +goose StatementBegin
CREATE FUNCTION usher.settled_decisions() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
BEGIN
    LOCK TABLE ONLY usher.decisions IN SHARE MODE;
    RETURN (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM usher.decisions_id_seq);
END
$$;

CREATE FUNCTION usher.settled_changes() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
BEGIN
    LOCK TABLE ONLY usher.changes IN SHARE MODE;
    RETURN (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM usher.changes_id_seq);
END
$$;

-- Erases the personal data of a user's decisions, at most so many, and says of
-- how many. The leaves cover salted digests of them, which stay.
CREATE FUNCTION usher.forget_decisions(of_user text, at_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased integer;
BEGIN
    UPDATE usher.decisions d
       SET ip = NULL, user_agent = NULL, origin = NULL, salt = NULL
      FROM (SELECT issued_at, id
              FROM usher.decisions
             WHERE user_id = of_user COLLATE "C" AND salt IS NOT NULL
             LIMIT at_most) f
     WHERE d.issued_at = f.issued_at AND d.id = f.id;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;

-- Drops the partition of a month that is over, where every row of it is sealed,
-- and says what went: how many rows, between which ids, and which of the ids
-- between them stay, in other partitions. The tree keeps the leaves. Not for
-- usher_service: usher's own role cannot delete.
--
-- Dropping needs the parent for an instant, for which issuing waits: it gives up
-- after 200 ms, lets the others pass, and tries again.
CREATE FUNCTION usher.drop_decisions(of_month date, tries integer,
    OUT rows bigint, OUT first_id bigint, OUT last_id bigint, OUT staying bigint[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '200ms' AS $$
DECLARE
    name text := 'decisions_' || to_char(of_month, 'YYYY_MM');
BEGIN
    IF of_month <> date_trunc('month', of_month) OR of_month + interval '1 month' > now() - interval '1 day' THEN
        RAISE invalid_parameter_value USING MESSAGE = format('%s is not the first day of a month that is over', of_month);
    END IF;
    EXECUTE format('LOCK TABLE usher.%I IN SHARE MODE', name); -- nothing is added from here on
    EXECUTE format('SELECT count(*), min(id), max(id) FROM usher.%I', name) INTO rows, first_id, last_id;
    IF last_id > (SELECT coalesce(max(decisions_through), 0) FROM usher.seals) THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('usher.%I holds rows that are not sealed yet', name);
    END IF;
    EXECUTE format('SELECT array_agg(id ORDER BY id) FROM usher.decisions WHERE id BETWEEN $1 AND $2 AND tableoid <> %L::regclass', 'usher.' || name)
       INTO staying USING first_id, last_id;
    FOR try IN 1 .. tries LOOP
        BEGIN
            EXECUTE format('DROP TABLE usher.%I', name);
            RETURN;
        EXCEPTION
            WHEN lock_not_available THEN
                IF try = tries THEN
                    RAISE;
                END IF;
                PERFORM pg_sleep(1);
        END;
    END LOOP;
END
$$;
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION usher.settled_decisions(), usher.settled_changes(), usher.forget_decisions(text, integer),
       usher.drop_decisions(date, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usher.settled_decisions(), usher.settled_changes(), usher.forget_decisions(text, integer) TO usher_service;

-- What usher audit verify reads: all that the leaves cover, so that auditors
-- can verify by themselves.
CREATE VIEW audit.decision_leaves AS
SELECT id, recorded_at, issued_at, result, reason, caller_kind, caller_id, user_id, organization_id, audience, room, store,
       patterns, partial, skipped_grants::text AS skipped_grants, jti, kid, expires_at, ip, user_agent, origin,
       request_id, replica, count, salt, personal_digest, digest
  FROM usher.decisions;
COMMENT ON VIEW audit.decision_leaves IS 'Every decision with all that its leaf in the tree covers. For usher audit verify; people read audit.tokens and audit.denials.';

CREATE VIEW audit.change_leaves AS
SELECT id, changed_at AS recorded_at, actor, action, target, details::text AS details, digest
  FROM usher.changes;
COMMENT ON VIEW audit.change_leaves IS 'Every change with all that its leaf in the tree covers. For usher audit verify; people read audit.changes.';

CREATE VIEW audit.seals AS
SELECT first_leaf, tree_size, sealed_at, decisions_through, changes_through, decision_ids, change_ids, first_hash, hashes, checkpoint
  FROM usher.seals;
COMMENT ON VIEW audit.seals IS 'The tree: what each seal appended, in order.';
COMMENT ON COLUMN audit.seals.first_leaf IS 'Index of the first leaf of this seal, from 0.';
COMMENT ON COLUMN audit.seals.tree_size IS 'Leaves of the tree after this seal.';
COMMENT ON COLUMN audit.seals.decisions_through IS 'All decisions to this id were sealed.';
COMMENT ON COLUMN audit.seals.changes_through IS 'All changes to this id were sealed.';
COMMENT ON COLUMN audit.seals.decision_ids IS 'The first leaves of this seal.';
COMMENT ON COLUMN audit.seals.change_ids IS 'The leaves after those.';
COMMENT ON COLUMN audit.seals.first_hash IS 'Index of the first of the hashes, in the order of golang.org/x/mod/sumdb/tlog.';
COMMENT ON COLUMN audit.seals.hashes IS 'Hashes of the leaves and of the nodes that they complete, 32 bytes each.';
COMMENT ON COLUMN audit.seals.checkpoint IS 'Signed: whose tree, its size, its root.';

CREATE VIEW audit.checkpoint_keys AS
SELECT name, public_key, created_at
  FROM usher.checkpoint_keys;
COMMENT ON VIEW audit.checkpoint_keys IS 'Public keys of the checkpoints. Keep a copy where nobody of the database can change it.';
GRANT SELECT ON audit.decision_leaves, audit.change_leaves, audit.seals, audit.checkpoint_keys TO usher_auditor, usher_service;
