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
	// rootsParent holds the data that cannot be in its own folder when root
	// starts the server. No other user can write there, and nothing cleans it up
	// as temporary.
	rootsParent = "/var/lib/usher-dev"
)

// place says where a server's files are and which user owns them.
type place struct {
	dir       string              // absolute, without symbolic links
	user      *syscall.Credential // the user to run as; nil: the current one
	data      string              // without symbolic links; "" if it does not exist
	socketDir string
}

// TempDir makes a folder in parent (empty: the default for temporary files) for
// a server that nobody needs afterwards. The user that root runs PostgreSQL as
// can enter it; what is inside is private to that user. The caller removes it.
func TempDir(parent, pattern string) (string, error) {
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
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

// findPlace looks for the data and decides which user runs the server: the
// data's owner, or for root without data an unprivileged user.
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
		return place{}, fmt.Errorf("%s belongs to root, and PostgreSQL does not run as root: change its owner, or remove it", data)
	case euid == 0:
		at.user = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	case int(owner.Uid) != euid:
		return place{}, fmt.Errorf("%s belongs to user %d: run as that user or root, or remove it", data, owner.Uid)
	}
	return at, nil
}

// unprivileged returns the user that root runs PostgreSQL as, or nil if the
// current user is not root.
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
	return nil, errors.New("PostgreSQL does not run as root, and neither user postgres nor user nobody exists: create a user postgres")
}

// newData returns the folder for new data: in dir, unless the user cannot enter
// it.
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

// adopt records data as the place's own, with a link in dir if it is elsewhere.
// Data elsewhere without a link belongs to an earlier dir that was removed.
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

// chooseSocketDir puts the socket beside the data, unless its path would be too
// long or libpq would read it as a list.
func (at *place) chooseSocketDir() error {
	at.socketDir = at.data
	if len(at.data+"/.s.PGSQL."+port) <= maxSocketPath && !strings.Contains(at.data, ",") {
		return nil
	}
	var err error
	at.socketDir, err = at.elsewhere()
	return err
}

// elsewhere returns a folder outside dir that belongs to the user. The same dir
// always gives the same folder.
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

// sweep removes data that is elsewhere and whose folder no longer exists.
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

// privateDir creates a folder that only the user can enter. An existing folder
// must already be private: temporary folders are shared, so another user may
// have created it.
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
		return fmt.Errorf("%s must be a folder that only user %d can enter: remove it", dir, uid)
	}
	return nil
}
