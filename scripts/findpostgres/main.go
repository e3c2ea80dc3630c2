// Command findpostgres prints the folder of the PostgreSQL programs that usher
// dev and the tests use. If there are no suitable ones, it says why and fails.
package main

import (
	"fmt"
	"os"

	"github.com/usher-auth/usher/db/pglocal"
)

func main() {
	dir, err := pglocal.FindPrograms()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
