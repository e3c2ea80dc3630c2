package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/session"
)

// AdminStore is what the admin API works on. A method that changes something takes
// the actor and records the change under that name. Called with the context that
// Once passes on, it runs in Once's transaction. A refusal is an [*admin.Refusal], a
// fault [principal.ErrUnavailable].
type AdminStore interface {
	DirectoryStore
	GrantStore
	KeyStore
	AuditStore
	// Once runs a change and stores its answer. For a request that was made
	// before, it returns the stored answer instead, and again is true.
	Once(ctx context.Context, r admin.Request, change func(context.Context) ([]byte, error)) (answer []byte, again bool, err error)
}

const (
	adminPrefix = "/v1/admin"
	// adminWithin bounds the work of one admin request.
	adminWithin = 4_500 * time.Millisecond
	maxBatch    = 1_000
	// maxAdminInFlight bounds the look-ups of admin keys that run at the same time.
	maxAdminInFlight = 64
	// maxAdminTurns bounds the reads that run at the same time, and separately the
	// changes. The store has enough connections for both and for look-ups of keys.
	maxAdminTurns = 3
)

// Admin is the API of operators, under /v1/admin on the second listener. It is
// safe for concurrent use.
type Admin struct {
	api       *API // answers, logs, counts and records
	store     AdminStore
	directory UserDirectory
	cursors   cursors
	slots     *slots // separate from the public ones, so that public load does not keep operators out
	// Reads and changes are separate, so that slow questions do not delay changes.
	readTurns, changeTurns *turns
	router                 chi.Router
}

// Admin returns the admin API, which shares its parts with a. directory looks up the
// users whose tokens are previewed. cursorKey has 32 bytes and must be the same on all
// replicas, so that one can continue a list that another began.
func (a *API) Admin(store AdminStore, directory UserDirectory, cursorKey []byte) (*Admin, error) {
	cursors, err := newCursors(cursorKey)
	if err != nil {
		return nil, err
	}
	admin := &Admin{api: a, store: store, directory: directory, cursors: cursors, slots: newSlots(maxAdminInFlight, maxAdminInFlight/2), readTurns: newTurns(maxAdminTurns, maxAdminTurns-1), changeTurns: newTurns(maxAdminTurns, maxAdminTurns-1)}
	admin.router = admin.routes()
	return admin, nil
}

// An adminHandler returns the value that becomes the answer's JSON.
type adminHandler func(ctx context.Context, c *adminCall) (any, error)

func (a *Admin) routes() chi.Router {
	r := chi.NewRouter()
	r.NotFound(a.api.handle("none", func(http.ResponseWriter, *http.Request) error { return errNotFound }))
	r.MethodNotAllowed(a.api.handle("none", func(http.ResponseWriter, *http.Request) error { return errMethodNotAllowed }))
	get := func(path string, serve adminHandler) {
		r.Get(path, a.api.handle(adminPrefix+path, a.read(serve)))
	}
	change := func(method, path string, status int, serve adminHandler) {
		r.Method(method, path, a.api.handle(adminPrefix+path, a.change(status, maxBody, serve)))
	}
	create := func(path string, serve adminHandler) { change(http.MethodPost, path, http.StatusCreated, serve) }
	act := func(path string, serve adminHandler) { change(http.MethodPost, path, http.StatusOK, serve) }
	update := func(path string, serve adminHandler) { change(http.MethodPatch, path, http.StatusOK, serve) }
	remove := func(path string, serve adminHandler) { change(http.MethodDelete, path, http.StatusOK, serve) }

	get("/users", a.users)
	create("/users", a.addUser)
	get("/users/{user}", one("user", a.store.User))
	update("/users/{user}", a.updateUser)
	remove("/users/{user}", changeOne("user", a.store.DeleteUser))
	act("/users/{user}/disable", changeOne("user", a.disableUser))
	act("/users/{user}/enable", changeOne("user", a.enableUser))
	get("/users/{user}/sessions", a.sessions)
	remove("/users/{user}/sessions", changeOne("user", a.endSessions))

	get("/organizations", a.organizations)
	create("/organizations", a.addOrganization)
	get("/organizations/{organization}", one("organization", a.store.Organization))
	update("/organizations/{organization}", rename("organization", a.store.RenameOrganization))
	remove("/organizations/{organization}", changeOne("organization", a.store.DeleteOrganization))
	get("/groups", a.groups)
	create("/groups", a.addGroup)
	get("/groups/{group}", one("group", a.store.Group))
	update("/groups/{group}", rename("group", a.store.RenameGroup))
	remove("/groups/{group}", changeOne("group", a.store.DeleteGroup))
	for of, path := range map[string]string{admin.OrganizationKind: "/organizations/{organization}/members", admin.GroupKind: "/groups/{group}/members"} {
		get(path, a.members(of))
		create(path, a.addMember(of))
		remove(path+"/{user}", a.removeMember(of))
	}

	get("/grants", a.grants)
	create("/grants", a.addGrant)
	r.Post("/grants/batch", a.api.handle(adminPrefix+"/grants/batch", a.change(http.StatusCreated, maxBatchBody, a.addGrants)))
	get("/grants/{grant}", a.grant)
	act("/grants/{grant}/revoke", a.revokeGrant)

	get("/api-keys", a.apiKeys)
	create("/api-keys", a.addAPIKey)
	act("/api-keys/{key}/revoke", changeOne("key", a.revokeAPIKey))
	get("/signing-keys", a.signingKeys)

	get("/audit/tokens", a.tokens)
	get("/audit/denials", a.denials)
	get("/audit/changes", a.changes)
	get("/audit/who-can", a.whoCan)
	get("/audit/who-could", a.whoCould)
	get("/audit/what-can", a.whatCan)
	get("/audit/holders", a.holders)
	get("/audit/why", a.why)
	// POST, although it changes nothing: its fields are in a body, not in the query.
	r.Post("/preview", a.api.handle(adminPrefix+"/preview", a.read(a.preview)))
	return r
}

// one adapts a method that needs only the id in the path.
func one[Row any](name string, get func(ctx context.Context, id string) (Row, error)) adminHandler {
	return func(ctx context.Context, c *adminCall) (any, error) {
		id, err := c.only(name)
		if err != nil {
			return nil, err
		}
		return get(ctx, id)
	}
}

// changeOne is [one] for a method that changes something.
func changeOne[Answer any](name string, change func(ctx context.Context, id string, actor admin.Actor) (Answer, error)) adminHandler {
	return func(ctx context.Context, c *adminCall) (any, error) {
		id, err := c.only(name)
		if err != nil {
			return nil, err
		}
		return change(ctx, id, c.actor)
	}
}

// read adapts a handler that auditors may call too.
func (a *Admin) read(serve adminHandler) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		key, err := a.authenticate(r, admin.RoleAuditor)
		if err != nil {
			return err
		}
		c := &adminCall{request: r, actor: key.Actor(), validate: a.api.validate}
		if _, err := c.readBody(w, maxBody); err != nil {
			return err
		}
		answer, err := a.doRead(r.Context(), key.ID, c, serve)
		if err != nil {
			return err
		}
		return writeAnswer(w, http.StatusOK, answer)
	}
}

// doRead waits for the key's turn and then runs the handler.
func (a *Admin) doRead(ctx context.Context, keyID string, c *adminCall, serve adminHandler) (any, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminWithin)
	defer cancel()
	release, err := a.readTurns.take(ctx, keyID)
	if err != nil {
		return nil, err
	}
	defer release()
	return serve(ctx, c)
}

// change adapts a handler that changes something. With an idempotency key, the change
// is made once, and later requests get the same answer.
func (a *Admin) change(status int, largest int64, serve adminHandler) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		key, err := a.authenticate(r, admin.RoleAdmin)
		if err != nil {
			return err
		}
		c := &adminCall{request: r, actor: key.Actor(), validate: a.api.validate}
		body, err := c.readBody(w, largest)
		if err != nil {
			return err
		}
		request, keyed, err := idempotent(r, key.ID, body)
		if err != nil {
			return err
		}
		answer, again, err := a.doChange(r.Context(), key.ID, request, keyed, c, serve)
		if err != nil {
			return err
		}
		if again {
			w.Header().Set("Idempotent-Replay", "true")
		}
		return writeAnswer(w, status, answer)
	}
}

// doChange waits for the key's turn and then runs the handler. again reports that an
// earlier request with this idempotency key has already made the change.
func (a *Admin) doChange(ctx context.Context, keyID string, request admin.Request, keyed bool, c *adminCall, serve adminHandler) (answer any, again bool, err error) {
	// Without the request's own cancellation: a client that disconnects must not
	// leave it undecided whether the change was made.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminWithin)
	defer cancel()
	release, err := a.changeTurns.take(ctx, keyID)
	if err != nil {
		return nil, false, err
	}
	defer release()
	if !keyed {
		answer, err = serve(ctx, c)
		return answer, false, err
	}
	kept, again, err := a.store.Once(ctx, request, func(ctx context.Context) (kept []byte, err error) {
		if answer, err = serve(ctx, c); err != nil {
			return nil, err
		}
		if s, ok := answer.(shownOnce); ok {
			return json.Marshal(s.later())
		}
		return json.Marshal(answer)
	})
	if again {
		answer = json.RawMessage(kept)
	}
	return answer, again, err
}

// shownOnce is an answer that holds a secret.
type shownOnce interface{ later() any }

func writeAnswer(w http.ResponseWriter, status int, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	writeJSON(w, status, body)
	return nil
}

// authenticate returns the admin key of a request. A refusal is recorded in the
// audit. A good key is not recorded here, because each change has its own record.
func (a *Admin) authenticate(r *http.Request, needs admin.Role) (admin.Key, error) {
	d := a.api.newDecision(r, session.Request{})
	shown, refusal := identity.ReadAdminKey(r)
	var credential identity.Credential
	if refusal == nil {
		credential.AdminKey = &shown
		d.CallerKind, d.CallerID = audit.CallerAdminKey, shown.ID
	}
	ctx, t, err := a.api.begin(r.Context(), a.slots, d, credential, a.api.limitedPeer(r))
	if err != nil {
		return admin.Key{}, err
	}
	defer t.release()
	var key admin.Key
	if refusal == nil {
		key, refusal = a.store.AdminKey(ctx, shown.ID, shown.Hash)
	}
	if refusal == nil && needs == admin.RoleAdmin && key.Role != admin.RoleAdmin {
		refusal = admin.ErrRole
	}
	if refusal == nil {
		return key, t.admission.commit(nil, d.At)
	}
	return admin.Key{}, t.end(ctx, nil, refusal)
}
