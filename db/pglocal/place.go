package pglocal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// maxSocketPath is what fits a socket address on macOS; Linux has 107.
	maxSocketPath = 103
	// rootsParent holds what cannot lie in its own folder when root starts the
	// server: no other user can write there, and no sweeper of temporary files
	// comes.
	rootsParent = "/var/lib/usher-dev"
)

// place is where a server's files lie and whose they are.
type place struct {
	dir       string              // absolute, without symbolic links
	user      *syscall.Credential // whom to run as; nil: as ourselves
	data      string              // without symbolic links; "" where there are none yet
	socketDir string
}

func makeDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// findPlace looks for the data and decides who runs the server: their owner, or
// else an unprivileged user where we are root.
func findPlace(dir string) (place, error) {
	at := place{dir: dir}
	data, err := filepath.EvalSymlinks(filepath.Join(dir, "data"))
	if errors.Is(err, fs.ErrNotExist) {
		at.user, err = unprivileged()
		return at, err
	}
	if err != nil {
		return place{}, err
	}
	at.data = data
	info, err := os.Stat(data)
	if err != nil {
		return place{}, err
	}
	owner := info.Sys().(*syscall.Stat_t)
	switch euid := os.Geteuid(); {
	case owner.Uid == 0:
		return place{}, fmt.Errorf("%s belongs to root, as whom PostgreSQL does not run: give it to another user, or remove it", data)
	case euid == 0:
		at.user = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	case int(owner.Uid) != euid:
		return place{}, fmt.Errorf("%s belongs to user %d: run as that user or root, or remove it", data, owner.Uid)
	}
	return at, nil
}

// unprivileged returns whom root is to run PostgreSQL as, and nil where we are
// not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// newData returns where new data go: to dir, unless the user cannot get there.
func (at *place) newData(ctx context.Context, log *slog.Logger, bin programs) (string, error) {
	try := command(bin.dir, "postgres", at.user, "--version")
	try.Dir = at.dir
	if try.Run() == nil {
		return filepath.Join(at.dir, "data"), nil
	}
	if err := sweep(ctx, log); err != nil {
		return "", err
	}
	other, err := at.elsewhere()
	if err != nil {
		return "", err
	}
	if err := os.Symlink(at.dir, filepath.Join(other, "origin")); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return filepath.Join(other, "data"), nil
}

// adopt makes data the place's own, by a link in dir where they lie elsewhere.
// What lies there without the link is of an earlier dir that was removed.
func (at *place) adopt(data string) error {
	at.data = data
	link := filepath.Join(at.dir, "data")
	if link == data {
		return nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(data, link)
}

// chooseSocketDir puts the socket beside the data, unless its path were too
// long there, or unless libpq took it for a list.
func (at *place) chooseSocketDir() error {
	at.socketDir = at.data
	if len(at.data+"/.s.PGSQL."+port) <= maxSocketPath && !strings.Contains(at.data, ",") {
		return nil
	}
	var err error
	at.socketDir, err = at.elsewhere()
	return err
}

// elsewhere returns a folder of the user's outside dir, always the same for the
// same dir.
func (at *place) elsewhere() (string, error) {
	name := fmt.Sprintf("usher-%x", sha256.Sum256([]byte(at.dir)))[:22]
	if at.user == nil {
		other := filepath.Join(os.TempDir(), name)
		return other, privateDir(other, nil)
	}
	if err := os.MkdirAll(rootsParent, 0o755); err != nil {
		return "", err
	}
	if err := os.Chmod(rootsParent, 0o755); err != nil { // whatever the umask
		return "", err
	}
	other := filepath.Join(rootsParent, name)
	return other, privateDir(other, at.user)
}

// sweep removes what lies elsewhere for folders that are gone.
func sweep(ctx context.Context, log *slog.Logger) error {
	origins, err := filepath.Glob(filepath.Join(rootsParent, "*", "origin"))
	if err != nil {
		return err
	}
	for _, origin := range origins {
		if _, err := os.Stat(origin); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		other := filepath.Dir(origin)
		if err := stopOrphan(ctx, log, filepath.Join(other, "data")); err != nil {
			return err
		}
		if err := os.RemoveAll(other); err != nil {
			return err
		}
	}
	return nil
}

// privateDir makes a folder that only the user can enter. One that exists must
// be so: temporary folders are shared, and another may have made it for us.
func privateDir(dir string, owner *syscall.Credential) error {
	uid := os.Geteuid()
	err := os.Mkdir(dir, 0o700)
	if owner != nil {
		uid = int(owner.Uid)
		if err == nil {
			err = os.Lchown(dir, int(owner.Uid), int(owner.Gid))
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Mode().Perm() != 0o700 || int(info.Sys().(*syscall.Stat_t).Uid) != uid {
		return fmt.Errorf("%s is not a folder of user %d's alone: remove it", dir, uid)
	}
	return nil
}
