package api

import (
	"encoding/json"
	"net/http"
	"strconv"
)

func submit(w http.ResponseWriter, r *http.Request, g Backend) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	req, _, err := decodeRequest(body)
	if err != nil {
		return err
	}
	req.Trusted = req.Trusted && !isRemote(r)
	j, err := g.Submit(r.Context(), req)
	if err != nil {
		return err
	}
	return writeJob(w, j)
}

func writeJob(w http.ResponseWriter, j Job) error {
	b, err := EncodeJob(j)
	if err != nil {
		return err
	}
	return writeJSON(w, json.RawMessage(b))
}

func followJob(w http.ResponseWriter, r *http.Request, g Backend) error {
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil && r.URL.Query().Has("from") || from < 0 {
		return Errorf(CodeUsage, "from=%s: want the number of an event", r.URL.Query().Get("from"))
	}
	s := newStream(w)
	s.end(nil, g.Follow(r.Context(), r.PathValue("id"), from, s.event))
	return nil
}

// jobLogs answers with what the guest prints. The parameters stdout=1 and stderr=1 select streams, and
// sofar=1 ends the answer after the output so far.
func jobLogs(w http.ResponseWriter, r *http.Request, g Backend) error {
	s := newStream(w)
	var watch Watch
	if r.URL.Query().Get("stdout") == "1" {
		watch.Stdout = chunk{s, frameStdout}
	}
	if r.URL.Query().Get("stderr") == "1" {
		watch.Stderr = chunk{s, frameStderr}
	}
	watch.SoFar = r.URL.Query().Get("sofar") == "1"
	s.end(nil, g.Logs(r.Context(), r.PathValue("id"), watch))
	return nil
}

func cancelJob(w http.ResponseWriter, r *http.Request, g Backend) error {
	if err := g.Cancel(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
