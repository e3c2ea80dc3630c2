package api

import (
	"encoding/json"
	"time"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// The bodies and queries of the admin API. The validate tags check the form; the
// database checks the rest, for example that a user exists.

type noFields struct{}

type userRequest struct {
	ID   string          `json:"id"`
	Info json.RawMessage `json:"info"`
}

type userUpdate struct {
	Info json.RawMessage `json:"info" validate:"required"`
}

type organizationRequest struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type groupRequest struct {
	ID             string `json:"id"`
	OrganizationID string `json:"organizationId"`
	Name           string `json:"name"`
}

type nameUpdate struct {
	Name *string `json:"name" validate:"required"` // empty: removes the name
}

type memberRequest struct {
	UserID string `json:"userId"`
}

type grantRequest struct {
	SubjectKind    string `json:"subjectKind"`
	SubjectID      string `json:"subjectId"`
	OrganizationID string `json:"organizationId"`
	ResourceKind   string `json:"resourceKind" validate:"kind"`
	Pattern        string `json:"pattern"`
	Access         string `json:"access" validate:"access"`
	ValidFrom      string `json:"validFrom" validate:"time"`
	ValidUntil     string `json:"validUntil" validate:"time"`
	Reason         string `json:"reason"`
	OpenPrefix     bool   `json:"openPrefix"`
}

func (r *grantRequest) grant() admin.NewGrant {
	return admin.NewGrant{
		Subject: admin.Subject{Kind: r.SubjectKind, ID: r.SubjectID}, Organization: r.OrganizationID,
		Kind: kindOf(r.ResourceKind), Pattern: r.Pattern, Access: accessOf(r.Access),
		From: timeOf(r.ValidFrom), Until: timeOf(r.ValidUntil), Reason: r.Reason, OpenPrefix: r.OpenPrefix,
	}
}

type batchRequest struct {
	Grants []grantRequest `json:"grants" validate:"required"`
}

type revokeRequest struct {
	Reason string `json:"reason"`
}

// apiKeyRoutes are the routes that an API key may be for.
var apiKeyRoutes = []string{principal.RouteAuth, principal.RouteAuthorizeUser, principal.RouteIdentifyUser}

type apiKeyRequest struct {
	Name          string           `json:"name" validate:"name"`
	Environment   string           `json:"environment" validate:"environment"`
	Routes        []string         `json:"routes" validate:"dive,route"`
	Organizations []string         `json:"organizations" validate:"dive,directory_id"`
	Patterns      session.Patterns `json:"patterns" validate:"scope"`
	ExpiresAt     string           `json:"expiresAt" validate:"time,future"`
}

type previewRequest struct {
	UserID         string `json:"userId" validate:"required,directory_id"`
	OrganizationID string `json:"organizationId" validate:"directory_id"`
	Room           string `json:"room"`
	Store          string `json:"store"`
	Audience       string `json:"audience"`
}

// listQuery has the parameters that all lists accept.
type listQuery struct {
	Limit  int    `json:"limit" validate:"limit"`
	Cursor string `json:"cursor" validate:"text"`
}

type grantsQuery struct {
	SubjectKind  string `json:"subjectKind" validate:"oneof=user group organization everyone"`
	SubjectID    string `json:"subjectId" validate:"text"`
	ResourceKind string `json:"resourceKind" validate:"kind"`
	Pattern      string `json:"pattern" validate:"text"`
	Ended        bool   `json:"ended"`
}

type apiKeysQuery struct {
	Revoked bool `json:"revoked"`
}

type tokensQuery struct {
	UserID   string `json:"userId" validate:"text"`
	Room     string `json:"room" validate:"text"`
	Store    string `json:"store" validate:"text"`
	CallerID string `json:"callerId" validate:"text"`
	Since    string `json:"since" validate:"time"`
	Until    string `json:"until" validate:"time"`
}

func (q *tokensQuery) filter(result string) admin.DecisionFilter {
	return admin.DecisionFilter{
		Result: result, User: q.UserID, Room: q.Room, Store: q.Store, CallerID: q.CallerID, Since: timeOf(q.Since), Until: timeOf(q.Until),
	}
}

type denialsQuery struct {
	Reason string `json:"reason" validate:"text"`
}

type changesQuery struct {
	Actor  string `json:"actor" validate:"text"`
	Action string `json:"action" validate:"text"`
	Target string `json:"target" validate:"text"`
	Since  string `json:"since" validate:"time"`
	Until  string `json:"until" validate:"time"`
}

// A resourceQuery asks about one room or one store.
type resourceQuery struct {
	Room  string `json:"room" validate:"text"`
	Store string `json:"store" validate:"text"`
}

func (q *resourceQuery) resource() (permissions.Resource, error) {
	switch {
	case (q.Room == "") == (q.Store == ""):
		return permissions.Resource{}, badRequest("Ask about one room or one store: give the parameter room or the parameter store.")
	case q.Room != "":
		return permissions.Room(q.Room), nil
	}
	return permissions.Store(q.Store), nil
}

type accessQuery struct {
	Access string `json:"access" validate:"access"`
}

// access returns the access that was asked for (default: read).
func (q *accessQuery) access() permissions.Access {
	if q.Access == "" {
		return permissions.Read
	}
	return accessOf(q.Access)
}

type timeQuery struct {
	At string `json:"at" validate:"required,time"`
}

func (q *timeQuery) at() time.Time { return timeOf(q.At) }

type userQuery struct {
	UserID string `json:"userId" validate:"required,text"`
}
