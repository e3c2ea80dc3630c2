package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// checked lists the files whose refusals TestMutants switches off one by one.
var checked = []string{
	"verifier.go", "claims.go", "keyset.go", "middleware.go",
	filepath.Join("..", "internal", "jwk", "key.go"),
	filepath.Join("..", "internal", "jwk", "parse.go"),
	filepath.Join("..", "internal", "jws", "base64url.go"),
	filepath.Join("..", "internal", "jws", "claims.go"),
	filepath.Join("..", "internal", "jws", "jws.go"),
	filepath.Join("..", "internal", "strictjson", "strictjson.go"),
}

// byVectors names the tests that verifiers in other languages can run too.
const byVectors = "^(TestAttackVectors|TestBadKeySets|TestAccessOfPermissionNames|TestWycheproofJWS|TestRefused|TestJSONTestSuite)$"

// byOthers names the tests of what vectors cannot test: configurations, sources of keys,
// requests.
const byOthers = "^(TestNewVerifierFaults|TestTokenErrorText|TestKeySource|TestMemo$|TestVerifyTimes|TestCan|TestKindsOfToken|TestParseJWK|" +
	"TestNewJWK|TestWeakEd25519|TestKeysOfOneKid|TestKeysFromFile|TestURLKeysFirstFetch|TestMiddleware$|TestAccepted|TestValueKinds|" +
	"TestLenient|TestAlgorithms|TestWrongHash|TestAlgorithmOfAKeyWithoutOne|TestUnusableKeys|TestZeroKey|TestHeaderMembers|TestIsSet)"

// redundant lists checks without which a later check refuses the same tokens, and the
// reason to keep each.
var redundant = map[string]string{
	"verifier.go: holds: err == nil":                          "with an error comes the zero key, which equals none",
	"verifier.go: open: err != nil: return nil, errPayload":   "no members, no iss",
	"jws.go: Open: !signatureOK: return nil, errBase64":       "what does not decode has not a signature's length",
	"verifier.go: checkClaims: !ok: return errClaim(\"iat\")": "the zero time is too long ago for a token's life",
	"verifier.go: checkClaims: !ok: return errClaim(\"exp\")": "the zero time is before iat",
	"parse.go: ParseSet: err != nil: return Set{}, err":       "no members, no keys",
}

// TestMutants builds the package a second time with a switch in each refusal, and runs the
// vectors with each refusal switched off. If no vector and no other test fails then, the
// check is untested or useless.
func TestMutants(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the vectors some 150 times")
	}
	dir := t.TempDir()
	mutants := writeMutants(t, dir)
	var binaries []string
	packages := []string{".", "../internal/strictjson", "../internal/jwk", "../internal/jws"}
	files := [][]string{nil, {"strictjson.go"}, {"key.go", "parse.go"}, {"jws.go"}} // nil: all
	for _, pkg := range packages {
		binary := filepath.Join(dir, fmt.Sprintf("%d.test", len(binaries)))
		binaries = append(binaries, binary)
		build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, pkg)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	// noticed runs the tests with one check switched off: those of this package, and
	// those of the package that the check is in.
	noticed := func(mutant int, tests string) bool {
		for i, binary := range binaries {
			if i > 0 && mutant > 0 && !slices.ContainsFunc(files[i], func(file string) bool { return strings.HasPrefix(mutants[mutant-1], file+":") }) {
				continue
			}
			patience := 20 * time.Second // one mutant never ends
			if mutant == 0 {
				patience = 5 * time.Minute // all tests must pass, on any machine
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			run := exec.CommandContext(ctx, binary, "-test.run", tests, "-test.failfast")
			run.Env = append(os.Environ(), fmt.Sprintf("USHER_TEST_MUTANT=%d", mutant))
			run.Dir = packages[i]
			err := run.Run()
			cancel()
			if _, failed := errors.AsType[*exec.ExitError](err); failed {
				return true
			} else if err != nil {
				t.Fatal(err)
			}
		}
		return false
	}
	if noticed(0, byVectors) || noticed(0, byOthers) {
		t.Fatal("the tests fail with all checks on")
	}
	vectors, others := 0, 0
	for i, m := range mutants {
		_, excused := redundant[m]
		switch {
		case noticed(i+1, byVectors):
			vectors++
		case noticed(i+1, byOthers):
			others++
			t.Logf("no vector, but another test notices without: %s", m)
		case !excused:
			t.Errorf("nothing notices without: %s", m)
			continue
		default:
			continue
		}
		if excused {
			t.Errorf("called redundant, but is noticed: %s", m)
		}
	}
	for m := range redundant {
		if !slices.Contains(mutants, m) {
			t.Errorf("called redundant, but is not there: %s", m)
		}
	}
	t.Logf("%d checks: without one, a vector fails for %d, another test for %d; %d are redundant", len(mutants), vectors, others, len(redundant))
}

// writeMutants writes an overlay for the go command in which each check can be switched
// off by its number, starting at 1. It returns the names of the checks.
func writeMutants(t *testing.T, dir string) []string {
	t.Helper()
	var mutants []string
	replace := map[string]string{}
	put := func(path, content string) {
		abs, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, strings.ReplaceAll(abs, string(filepath.Separator), "_"))
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[abs] = file
	}
	for _, path := range checked {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		source := string(content)
		edits := map[int]string{} // by offset, to insert
		for _, c := range findChecks(t, path, source) {
			mutants = append(mutants, fmt.Sprintf("%s: %s: %s", filepath.Base(path), c.in, c.text))
			if c.demand {
				edits[c.from] += fmt.Sprintf("(mutant == %d || (", len(mutants))
			} else {
				edits[c.from] += fmt.Sprintf("(mutant != %d && (", len(mutants))
			}
			edits[c.to] = "))" + edits[c.to]
		}
		var b strings.Builder
		for i := range len(source) {
			b.WriteString(edits[i])
			b.WriteByte(source[i])
		}
		put(path, b.String())
		name := "session"
		if dir := filepath.Dir(path); dir != "." {
			name = filepath.Base(dir)
		}
		put(filepath.Join(filepath.Dir(path), "mutant.go"), "package "+name+`

import (
	"os"
	"strconv"
)

var mutant, _ = strconv.Atoi(os.Getenv("USHER_TEST_MUTANT"))
`)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return mutants
}

// check is an expression that decides a refusal.
type check struct {
	in, text string // the function, and the check as it stands there
	from, to int
	demand   bool // refuses where it is false, else where it is true
}

// findChecks finds the conditions under which a function refuses, with each side of an ||
// as a separate check. If a function's last result is boolean, each side of an && in it is
// a check too.
func findChecks(t *testing.T, path, source string) []check {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	var checks []check
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Type.Results == nil {
			continue
		}
		offset := func(p token.Pos) int { return fset.Position(p).Offset }
		add := func(e ast.Expr, split token.Token, body []ast.Stmt) {
			for _, side := range operands(e, split) {
				c := check{f.Name.Name, source[offset(side.Pos()):offset(side.End())], offset(side.Pos()), offset(side.End()), body == nil}
				if body != nil {
					c.text += ": " + source[offset(body[len(body)-1].Pos()):offset(body[len(body)-1].End())]
				}
				checks = append(checks, c)
			}
		}
		last := f.Type.Results.List[len(f.Type.Results.List)-1].Type
		returnsBool := types(last) == "bool"
		ast.Inspect(f.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.IfStmt:
				if refuses(path, n.Body.List) {
					add(n.Cond, token.LOR, n.Body.List)
				}
			case *ast.SwitchStmt:
				for _, c := range n.Body.List {
					if c := c.(*ast.CaseClause); n.Tag == nil && refuses(path, c.Body) {
						for _, e := range c.List {
							add(e, token.LOR, c.Body)
						}
					}
				}
			case *ast.ReturnStmt:
				if e := n.Results; returnsBool && len(e) == f.Type.Results.NumFields() {
					if _, constant := e[len(e)-1].(*ast.Ident); !constant {
						add(e[len(e)-1], token.LAND, nil)
					}
				}
			case *ast.FuncLit:
				return false
			}
			return true
		})
	}
	return checks
}

func types(e ast.Expr) string {
	id, _ := e.(*ast.Ident)
	if id == nil {
		return ""
	}
	return id.Name
}

func operands(e ast.Expr, split token.Token) []ast.Expr {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == split {
		return append(operands(b.X, split), operands(b.Y, split)...)
	}
	return []ast.Expr{e}
}

// refuses reports whether a body ends with a refusal: it returns an error or false, or
// skips a bad key.
func refuses(path string, body []ast.Stmt) bool {
	if len(body) == 0 {
		return false
	}
	switch s := body[len(body)-1].(type) {
	case *ast.BranchStmt:
		return s.Tok == token.CONTINUE && strings.HasSuffix(path, "parse.go")
	case *ast.ReturnStmt:
		if len(s.Results) == 0 {
			return false
		}
		switch e := s.Results[len(s.Results)-1].(type) {
		case *ast.Ident:
			// Returning another function's error is a check too. In strictjson,
			// loops would not end without it.
			return e.Name == "false" || strings.HasPrefix(strings.ToLower(e.Name), "err") && (e.Name != "err" || !strings.Contains(path, "strictjson"))
		case *ast.CallExpr:
			if name, ok := e.Fun.(*ast.Ident); ok {
				return strings.HasPrefix(name.Name, "err")
			}
			name := e.Fun.(*ast.SelectorExpr)
			return name.Sel.Name == "New" || name.Sel.Name == "Errorf" || name.Sel.Name == "fail"
		case *ast.UnaryExpr:
			return e.Op == token.AND
		}
	}
	return false
}
