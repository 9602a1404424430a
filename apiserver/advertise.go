package apiserver

import (
	"context"
)

func (s *Server) advertise(ctx context.Context) error {
	if !s.cfg.Advertise.IsValid() {
		return nil
	}
	return nil
}
