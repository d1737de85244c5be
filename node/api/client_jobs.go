package api

import (
	"context"
	"encoding/json"
	"strconv"
)

func (c *Client) Submit(ctx context.Context, r Request) (Job, error) {
	body, err := encodeRequest(r, Watch{})
	if err != nil {
		return Job{}, err
	}
	var b json.RawMessage
	if err := c.ask(ctx, "POST", "/v1/jobs", json.RawMessage(body), &b); err != nil {
		return Job{}, err
	}
	return DecodeJob(b)
}

func (c *Client) Follow(ctx context.Context, id string, from int, each func(Event) error) error {
	path, err := jobPath(id, "/events?from="+strconv.Itoa(from))
	if err != nil {
		return err
	}
	_, err = c.stream(ctx, "GET", path, nil, func(_ byte, b []byte) error {
		var e Event
		if err := json.Unmarshal(b, &e); err != nil {
			return err
		}
		return each(e)
	})
	return err
}

func (c *Client) Logs(ctx context.Context, id string, w Watch) error {
	which := "/logs?"
	if w.Stdout != nil {
		which += "&stdout=1"
	}
	if w.Stderr != nil {
		which += "&stderr=1"
	}
	if w.SoFar {
		which += "&sofar=1"
	}
	path, err := jobPath(id, which)
	if err != nil {
		return err
	}
	_, err = c.stream(ctx, "GET", path, nil, w.frame)
	return err
}

func (c *Client) Cancel(ctx context.Context, id string) error {
	path, err := jobPath(id, "/cancel")
	if err != nil {
		return err
	}
	return c.ask(ctx, "POST", path, nil, nil)
}

// jobPath returns the URL path of a resource of one job.
func jobPath(id, rest string) (string, error) {
	if !isJobName(id) {
		return "", Errorf(CodeUsage, "%q is not a job id", id)
	}
	return "/v1/jobs/" + id + rest, nil
}
