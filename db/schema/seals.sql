CREATE OR REPLACE TRIGGER keep BEFORE UPDATE OR DELETE ON usher.seals
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.seals
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- Only the encryption of a key may change, when the key ring changes.
CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.checkpoint_keys
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();

CREATE OR REPLACE TRIGGER reencrypt_only BEFORE UPDATE ON usher.checkpoint_keys
    FOR EACH ROW WHEN ((NEW.name, NEW.public_key, NEW.created_at) IS DISTINCT FROM (OLD.name, OLD.public_key, OLD.created_at))
    EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.checkpoint_keys
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- Returns the last settled id of a table: all transactions that drew it or a
-- smaller id have ended, so no further row can appear up to it.
--
-- An INSERT locks its table (ROW EXCLUSIVE) before it draws an id, until its
-- transaction ends. A SHARE lock waits for all of those, and is then held only for
-- an instant. So writers take no extra lock. An advisory lock, which every role
-- can take, could be blocked by anyone; this one only by writers and the owner.
-- While it waits for a slow writer, other statements queue behind it. So it fails
-- after 50 ms (55P03), and the caller tries again. Each table has its own barrier,
-- so that an administrator's long transaction delays only the sealing of changes.
CREATE OR REPLACE FUNCTION usher.settled_decisions() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    settled bigint;
BEGIN
    BEGIN
        LOCK TABLE ONLY usher.decisions IN SHARE MODE;
        settled := (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM usher.decisions_id_seq);
        RAISE SQLSTATE 'UX001'; -- rolls back, which releases the lock before the caller's transaction ends
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
        RAISE SQLSTATE 'UX001'; -- rolls back, which releases the lock before the caller's transaction ends
    EXCEPTION
        WHEN SQLSTATE 'UX001' THEN NULL;
    END;
    RETURN settled;
END
$$;

-- Erases the personal data of at most so many decisions about a user, and returns
-- the number of rows. The leaves cover salted digests of the data, which stay.
CREATE OR REPLACE FUNCTION usher.forget_decisions(of_user text, at_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased integer;
BEGIN
    IF at_most IS NULL OR at_most NOT BETWEEN 1 AND 100000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'erase 1 to 100000 rows at a time, at most';
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

-- Drops the partition of a past month if all its rows are sealed. Returns the
-- number of dropped rows, their first and last id, and the ids between these that
-- stay because their rows are in other partitions. The tree keeps the leaves.
-- usher_service may not call it, because usher's own role must not delete rows.
--
-- Dropping locks the parent for an instant, and issuing waits for that. If it must
-- itself wait for 200 ms, it gives up, lets the others pass, and tries again.
CREATE OR REPLACE FUNCTION usher.drop_decisions(of_month date, tries integer,
    OUT rows bigint, OUT first_id bigint, OUT last_id bigint, OUT staying bigint[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '200ms' AS $$
DECLARE
    name text := 'decisions_' || to_char(of_month, 'YYYY_MM');
BEGIN
    IF of_month <> date_trunc('month', of_month) OR of_month + interval '1 month' > now() - interval '1 day' THEN
        RAISE invalid_parameter_value USING MESSAGE = format('%s is not the first day of a month that is over', of_month);
    END IF;
    EXECUTE format('LOCK TABLE usher.%I IN SHARE MODE', name); -- no row is added after this
    EXECUTE format('SELECT count(*), min(id), max(id) FROM usher.%I', name) INTO rows, first_id, last_id;
    IF last_id > (SELECT coalesce(max(decisions_through), 0) FROM usher.seals) THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('usher.%I has rows that are not sealed', name);
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

-- usher audit verify reads this view and the next one. They contain everything
-- that the leaves cover, so that auditors can write their own verification.
CREATE OR REPLACE VIEW audit.decision_leaves AS
SELECT id, recorded_at, issued_at, result, reason, caller_kind, caller_id, user_id, organization_id, requested_organization_id, audience, room, store,
       token_kind, patterns, claims::text AS claims, partial, skipped_grants::text AS skipped_grants, warnings::text AS warnings, jti, kid, expires_at, ip, user_agent, origin,
       request_id, replica, count, salt, personal_digest, digest
  FROM usher.decisions;
COMMENT ON VIEW audit.decision_leaves IS 'Every decision with everything that its leaf in the tree covers. Made for usher audit verify; audit.tokens and audit.denials are easier to read.';
COMMENT ON COLUMN audit.decision_leaves.id IS 'Ascending, in the order in which writing of the rows began.';
COMMENT ON COLUMN audit.decision_leaves.recorded_at IS 'When the row was written, by the database''s clock.';
COMMENT ON COLUMN audit.decision_leaves.issued_at IS 'Time of the decision: issued_at of audit.tokens, denied_at of audit.denials.';
COMMENT ON COLUMN audit.decision_leaves.result IS 'issued or denied.';
COMMENT ON COLUMN audit.decision_leaves.reason IS 'Code of a denial. Null for a token.';
COMMENT ON COLUMN audit.decision_leaves.caller_kind IS 'none, session, provider, proxy, api_key, admin_key or operator.';
COMMENT ON COLUMN audit.decision_leaves.caller_id IS 'As in audit.tokens and audit.denials.';
COMMENT ON COLUMN audit.decision_leaves.user_id IS 'The user of the token, or the user who was refused. Null if unknown.';
COMMENT ON COLUMN audit.decision_leaves.organization_id IS 'The active organization of the session. Null without one.';
COMMENT ON COLUMN audit.decision_leaves.requested_organization_id IS 'The organization that was requested. Null if none was named.';
COMMENT ON COLUMN audit.decision_leaves.audience IS 'The sync backend. Null if none was named.';
COMMENT ON COLUMN audit.decision_leaves.room IS 'The room that was requested. Null if none was named.';
COMMENT ON COLUMN audit.decision_leaves.store IS 'The store that was requested. Null if none was named.';
COMMENT ON COLUMN audit.decision_leaves.token_kind IS 'access or identity. Null for a denial.';
COMMENT ON COLUMN audit.decision_leaves.patterns IS 'What the token opens. Null for a denial.';
COMMENT ON COLUMN audit.decision_leaves.claims IS 'As in audit.tokens, as text, exactly as it was signed.';
COMMENT ON COLUMN audit.decision_leaves.partial IS 'True if the user had more access than the token contains.';
COMMENT ON COLUMN audit.decision_leaves.skipped_grants IS 'As text, as the leaf covers them: {1,2}. Null without any.';
COMMENT ON COLUMN audit.decision_leaves.warnings IS 'As text, as the leaf covers them: {open_prefix}. Null without any.';
COMMENT ON COLUMN audit.decision_leaves.jti IS 'The token''s jti claim. Null for a denial.';
COMMENT ON COLUMN audit.decision_leaves.kid IS 'The signing key. Null for a denial.';
COMMENT ON COLUMN audit.decision_leaves.expires_at IS 'The exp claim. Null for a denial.';
COMMENT ON COLUMN audit.decision_leaves.ip IS 'The client''s address, or for a flood its network. Null if erased or unknown.';
COMMENT ON COLUMN audit.decision_leaves.user_agent IS 'The User-Agent header, at most 256 bytes of it. Null if erased or absent.';
COMMENT ON COLUMN audit.decision_leaves.origin IS 'The Origin header. Null if erased or absent.';
COMMENT ON COLUMN audit.decision_leaves.request_id IS 'Id of the request in usher''s log.';
COMMENT ON COLUMN audit.decision_leaves.replica IS 'The usher process that decided.';
COMMENT ON COLUMN audit.decision_leaves.count IS 'Number of requests: 1, or more for a flood.';
COMMENT ON COLUMN audit.decision_leaves.salt IS '16 random bytes. Null if ip, user_agent and origin were erased (usher audit forget).';
COMMENT ON COLUMN audit.decision_leaves.personal_digest IS 'SHA-256 of salt, ip, user_agent and origin, 32 bytes. It stays when these are erased.';
COMMENT ON COLUMN audit.decision_leaves.digest IS 'SHA-256 of the row, 32 bytes, computed by usher. The leaf adds id and recorded_at.';

CREATE OR REPLACE VIEW audit.change_leaves AS
SELECT id, changed_at AS recorded_at, actor, action, target, details::text AS details, digest
  FROM usher.changes;
COMMENT ON VIEW audit.change_leaves IS 'Every change with everything that its leaf in the tree covers. Made for usher audit verify; audit.changes is easier to read.';
COMMENT ON COLUMN audit.change_leaves.id IS 'Ascending.';
COMMENT ON COLUMN audit.change_leaves.recorded_at IS 'changed_at of audit.changes.';
COMMENT ON COLUMN audit.change_leaves.actor IS 'Who made the change.';
COMMENT ON COLUMN audit.change_leaves.action IS 'Kind of object and kind of change.';
COMMENT ON COLUMN audit.change_leaves.target IS 'Id of the changed object.';
COMMENT ON COLUMN audit.change_leaves.details IS 'As text, exactly as it was written, because the digest covers its bytes.';
COMMENT ON COLUMN audit.change_leaves.digest IS 'SHA-256 of actor, action, target and details, 32 bytes, computed by usher. The leaf adds id and recorded_at.';

CREATE OR REPLACE VIEW audit.seals AS
SELECT first_leaf, tree_size, sealed_at, decisions_through, changes_through, decision_ids, change_ids, first_hash, hashes, checkpoint
  FROM usher.seals;
COMMENT ON VIEW audit.seals IS 'The tree: the leaves that each seal appended, in order.';
COMMENT ON COLUMN audit.seals.first_leaf IS 'Index of the first leaf of this seal, from 0.';
COMMENT ON COLUMN audit.seals.tree_size IS 'Number of leaves of the tree after this seal.';
COMMENT ON COLUMN audit.seals.sealed_at IS 'Time of the seal by the database''s clock.';
COMMENT ON COLUMN audit.seals.decisions_through IS 'All decisions up to this id are sealed.';
COMMENT ON COLUMN audit.seals.changes_through IS 'All changes up to this id are sealed.';
COMMENT ON COLUMN audit.seals.decision_ids IS 'Ids of the decisions, which are the first leaves of this seal.';
COMMENT ON COLUMN audit.seals.change_ids IS 'Ids of the changes, which are the leaves after those.';
COMMENT ON COLUMN audit.seals.first_hash IS 'Index of the first of the hashes in the storage order of golang.org/x/mod/sumdb/tlog.';
COMMENT ON COLUMN audit.seals.hashes IS 'Hashes of the leaves and of the nodes that they complete, 32 bytes each.';
COMMENT ON COLUMN audit.seals.checkpoint IS 'Signed text: the name of the tree, its size and its root.';

CREATE OR REPLACE VIEW audit.checkpoint_keys AS
SELECT name, public_key, created_at
  FROM usher.checkpoint_keys;
COMMENT ON VIEW audit.checkpoint_keys IS 'Public keys of the checkpoints. Keep a copy where database administrators cannot change it.';
COMMENT ON COLUMN audit.checkpoint_keys.name IS 'Name of the key, and first line of its checkpoints, which identifies the tree.';
COMMENT ON COLUMN audit.checkpoint_keys.public_key IS 'In the format of golang.org/x/mod/sumdb/note. The newest key signs.';
COMMENT ON COLUMN audit.checkpoint_keys.created_at IS 'When it was created, by the database''s clock.';
