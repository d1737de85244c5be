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

// minToken is the least length of a token, in characters: whoever has it has the node.
const minToken = 20

// MakeToken returns the token in the file at path, which only its owner may read. It
// makes the file, with 130 random bits, when there is none.
func MakeToken(path string) (string, error) {
	token, err := ReadToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	token = rand.Text()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	_, err = io.WriteString(f, token+"\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return "", fmt.Errorf("make token %s: %w", path, err)
	}
	return token, nil
}

// ReadToken returns the token in the file at path. A file that others may read is an
// error: what is in it is a secret no more.
func ReadToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", &Error{
			Code: CodeUsage, Message: fmt.Sprintf("the token file %s can be read by others", path),
			Hint: "make a new one: what others have read is no secret any more",
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read token %s: %w", path, err)
	}
	token := strings.TrimSpace(string(b))
	return token, checkToken(token)
}

func checkToken(token string) error {
	if len(token) < minToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Errorf(CodeUsage, "a token is at least %d printable characters without a space", minToken)
	}
	return nil
}

// bearer lets those requests through to next that carry the token.
func bearer(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		// Hashed, the two are of one length: the time says nothing of either.
		have := sha256.Sum256([]byte(given))
		if subtle.ConstantTimeCompare(have[:], want[:]) != 1 || !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.Header().Set("Connection", "close") // the body of a stranger is not read
			writeError(w, &Error{Code: CodeDenied, Message: "the token is missing or wrong", Hint: "it is in the file api.token of the repo there"})
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), far{}, true)))
	})
}

// far marks the context of a request that came over TCP.
type far struct{}

// isFar reports whether a request came over TCP: then nothing in it is a file of the
// user who runs the node.
func isFar(r *http.Request) bool { return r.Context().Value(far{}) != nil }
