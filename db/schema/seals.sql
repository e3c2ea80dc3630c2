CREATE OR REPLACE TRIGGER keep BEFORE UPDATE OR DELETE ON usher.seals
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.seals
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- Of a key only the encryption may change, with the key ring.
CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.checkpoint_keys
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();

CREATE OR REPLACE TRIGGER reencrypt_only BEFORE UPDATE ON usher.checkpoint_keys
    FOR EACH ROW WHEN ((NEW.name, NEW.public_key, NEW.created_at) IS DISTINCT FROM (OLD.name, OLD.public_key, OLD.created_at))
    EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.checkpoint_keys
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

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
CREATE OR REPLACE FUNCTION usher.settled_decisions() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    settled bigint;
BEGIN
    BEGIN
        LOCK TABLE ONLY usher.decisions IN SHARE MODE;
        settled := (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM usher.decisions_id_seq);
        RAISE SQLSTATE 'UX001'; -- taken back, the lock is held no longer, whatever the caller's transaction does
    EXCEPTION
        WHEN SQLSTATE 'UX001' THEN NULL;
    END;
    RETURN settled;
END
$$;

CREATE OR REPLACE FUNCTION usher.settled_changes() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    settled bigint;
BEGIN
    BEGIN
        LOCK TABLE ONLY usher.changes IN SHARE MODE;
        settled := (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM usher.changes_id_seq);
        RAISE SQLSTATE 'UX001'; -- taken back, the lock is held no longer, whatever the caller's transaction does
    EXCEPTION
        WHEN SQLSTATE 'UX001' THEN NULL;
    END;
    RETURN settled;
END
$$;

-- Erases the personal data of a user's decisions, at most so many, and says of
-- how many. The leaves cover salted digests of them, which stay.
CREATE OR REPLACE FUNCTION usher.forget_decisions(of_user text, at_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased integer;
BEGIN
    IF at_most IS NULL OR at_most NOT BETWEEN 1 AND 100000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'at most 100000 rows at a time';
    END IF;
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
CREATE OR REPLACE FUNCTION usher.drop_decisions(of_month date, tries integer,
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

-- What usher audit verify reads: all that the leaves cover, so that auditors
-- can verify by themselves.
CREATE OR REPLACE VIEW audit.decision_leaves AS
SELECT id, recorded_at, issued_at, result, reason, caller_kind, caller_id, user_id, organization_id, requested_organization_id, audience, room, store,
       token_kind, patterns, claims::text AS claims, partial, skipped_grants::text AS skipped_grants, warnings::text AS warnings, jti, kid, expires_at, ip, user_agent, origin,
       request_id, replica, count, salt, personal_digest, digest
  FROM usher.decisions;
COMMENT ON VIEW audit.decision_leaves IS 'Every decision with all that its leaf in the tree covers. For usher audit verify; people read audit.tokens and audit.denials.';
COMMENT ON COLUMN audit.decision_leaves.id IS 'Counts up, in the order in which rows were begun.';
COMMENT ON COLUMN audit.decision_leaves.recorded_at IS 'When the row was written, by the database''s clock.';
COMMENT ON COLUMN audit.decision_leaves.issued_at IS 'When it was decided: issued_at of audit.tokens, denied_at of audit.denials.';
COMMENT ON COLUMN audit.decision_leaves.result IS 'issued or denied.';
COMMENT ON COLUMN audit.decision_leaves.reason IS 'Of a denial, a slug; null of a token.';
COMMENT ON COLUMN audit.decision_leaves.caller_kind IS 'none, session, upstream, proxy, api_key, admin_key or operator.';
COMMENT ON COLUMN audit.decision_leaves.caller_id IS 'As in audit.tokens and audit.denials.';
COMMENT ON COLUMN audit.decision_leaves.user_id IS 'Whose token, or who was refused; null where nobody was known.';
COMMENT ON COLUMN audit.decision_leaves.organization_id IS 'The active organization of the session; null where there is none.';
COMMENT ON COLUMN audit.decision_leaves.requested_organization_id IS 'The organization that was asked for; null where none was named.';
COMMENT ON COLUMN audit.decision_leaves.audience IS 'The sync backend; null where none was named.';
COMMENT ON COLUMN audit.decision_leaves.room IS 'The room that was asked for; null where none was named.';
COMMENT ON COLUMN audit.decision_leaves.store IS 'The store that was asked for; null where none was named.';
COMMENT ON COLUMN audit.decision_leaves.token_kind IS 'access or identity; null of a denial.';
COMMENT ON COLUMN audit.decision_leaves.patterns IS 'Of a token: what it opens; null of a denial.';
COMMENT ON COLUMN audit.decision_leaves.claims IS 'In text, as it was signed: as in audit.tokens.';
COMMENT ON COLUMN audit.decision_leaves.partial IS 'The user had more than the token holds.';
COMMENT ON COLUMN audit.decision_leaves.skipped_grants IS 'As the leaf covers them: {1,2}, in text; null where none was skipped.';
COMMENT ON COLUMN audit.decision_leaves.warnings IS 'As the leaf covers them: {open_prefix}, in text; null where there is nothing.';
COMMENT ON COLUMN audit.decision_leaves.jti IS 'The token''s jti claim; null of a denial.';
COMMENT ON COLUMN audit.decision_leaves.kid IS 'The signing key; null of a denial.';
COMMENT ON COLUMN audit.decision_leaves.expires_at IS 'The exp claim; null of a denial.';
COMMENT ON COLUMN audit.decision_leaves.ip IS 'Of a flood a prefix; null where erased or unknown.';
COMMENT ON COLUMN audit.decision_leaves.user_agent IS 'The header, at most 256 bytes of it; null where erased or absent.';
COMMENT ON COLUMN audit.decision_leaves.origin IS 'The header; null where erased or absent.';
COMMENT ON COLUMN audit.decision_leaves.request_id IS 'The request in usher''s log.';
COMMENT ON COLUMN audit.decision_leaves.replica IS 'The usher process that decided.';
COMMENT ON COLUMN audit.decision_leaves.count IS 'Requests: 1, or more of a flood.';
COMMENT ON COLUMN audit.decision_leaves.salt IS '16 random bytes; null: ip, user_agent and origin were erased (usher audit forget).';
COMMENT ON COLUMN audit.decision_leaves.personal_digest IS 'SHA-256 over salt, ip, user_agent and origin, 32 bytes: stays when they go.';
COMMENT ON COLUMN audit.decision_leaves.digest IS 'SHA-256 over the row, 32 bytes, made by usher. The leaf adds id and recorded_at.';

CREATE OR REPLACE VIEW audit.change_leaves AS
SELECT id, changed_at AS recorded_at, actor, action, target, details::text AS details, digest
  FROM usher.changes;
COMMENT ON VIEW audit.change_leaves IS 'Every change with all that its leaf in the tree covers. For usher audit verify; people read audit.changes.';
COMMENT ON COLUMN audit.change_leaves.id IS 'Counts up.';
COMMENT ON COLUMN audit.change_leaves.recorded_at IS 'changed_at of audit.changes.';
COMMENT ON COLUMN audit.change_leaves.actor IS 'Who.';
COMMENT ON COLUMN audit.change_leaves.action IS 'What was done to what.';
COMMENT ON COLUMN audit.change_leaves.target IS 'The id of what was changed.';
COMMENT ON COLUMN audit.change_leaves.details IS 'In text, as it was written: the digest covers its bytes.';
COMMENT ON COLUMN audit.change_leaves.digest IS 'SHA-256 over actor, action, target and details, 32 bytes, made by usher. The leaf adds id and recorded_at.';

CREATE OR REPLACE VIEW audit.seals AS
SELECT first_leaf, tree_size, sealed_at, decisions_through, changes_through, decision_ids, change_ids, first_hash, hashes, checkpoint
  FROM usher.seals;
COMMENT ON VIEW audit.seals IS 'The tree: what each seal appended, in order.';
COMMENT ON COLUMN audit.seals.first_leaf IS 'Index of the first leaf of this seal, from 0.';
COMMENT ON COLUMN audit.seals.tree_size IS 'Leaves of the tree after this seal.';
COMMENT ON COLUMN audit.seals.sealed_at IS 'By the database''s clock.';
COMMENT ON COLUMN audit.seals.decisions_through IS 'All decisions to this id were sealed.';
COMMENT ON COLUMN audit.seals.changes_through IS 'All changes to this id were sealed.';
COMMENT ON COLUMN audit.seals.decision_ids IS 'The first leaves of this seal.';
COMMENT ON COLUMN audit.seals.change_ids IS 'The leaves after those.';
COMMENT ON COLUMN audit.seals.first_hash IS 'Index of the first of the hashes, in the order of golang.org/x/mod/sumdb/tlog.';
COMMENT ON COLUMN audit.seals.hashes IS 'Hashes of the leaves and of the nodes that they complete, 32 bytes each.';
COMMENT ON COLUMN audit.seals.checkpoint IS 'Signed: whose tree, its size, its root.';

CREATE OR REPLACE VIEW audit.checkpoint_keys AS
SELECT name, public_key, created_at
  FROM usher.checkpoint_keys;
COMMENT ON VIEW audit.checkpoint_keys IS 'Public keys of the checkpoints. Keep a copy where nobody of the database can change it.';
COMMENT ON COLUMN audit.checkpoint_keys.name IS 'The key''s name, and the first line of its checkpoints: says whose tree it is.';
COMMENT ON COLUMN audit.checkpoint_keys.public_key IS 'As golang.org/x/mod/sumdb/note writes it. The newest key signs.';
COMMENT ON COLUMN audit.checkpoint_keys.created_at IS 'By the database''s clock.';
