package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
)

// minToken is the minimum length of a token in characters: a token gives full control of the node.
const minToken = 20

// MakeToken returns the token in the file at path, which only its owner may read. If the file does
// not exist, it creates it with 130 random bits.
func MakeToken(path string) (string, error) {
	token, err := ReadToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	token = rand.Text()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("create API token: %w", err)
	}
	_, err = io.WriteString(f, token+"\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return "", fmt.Errorf("create API token %s: %w", path, err)
	}
	return token, nil
}

// ReadToken returns the token in the file at path. A file that other users can read is an error:
// its content is not secret.
func ReadToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read API token: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read API token: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", &Error{
			Code: CodeUsage, Message: fmt.Sprintf("token file %s: other users can read it", path),
			Hint: "delete it, to create a new token at the next start: other users may have read this one",
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read API token %s: %w", path, err)
	}
	token := strings.TrimSpace(string(b))
	return token, checkToken(token)
}

func checkToken(token string) error {
	if len(token) < minToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Errorf(CodeUsage, "API token: want at least %d printable characters without spaces", minToken)
	}
	return nil
}

// requireToken passes on the requests that carry the token.
func requireToken(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		// Hashes have equal length, so the time of the comparison reveals nothing about the token.
		have := sha256.Sum256([]byte(given))
		if subtle.ConstantTimeCompare(have[:], want[:]) != 1 || !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.Header().Set("Connection", "close") // the body of an unauthenticated request is not read
			writeError(w, &Error{Code: CodeDenied, Message: "the API token is missing or wrong", Hint: "the token is in the file api.token of the node's repo"})
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), remote{}, true)))
	})
}

// remote is the context key of a request that came over TCP.
type remote struct{}

// isRemote reports whether a request came over TCP. Then no path in it names a file of the user that
// runs the node.
func isRemote(r *http.Request) bool { return r.Context().Value(remote{}) != nil }
