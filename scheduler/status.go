package scheduler

import (
	"errors"
	"strings"
)

// Code says what a status that is not nil means. Consent has no code: it is the nil status.
type Code uint8

// Codes.
const (
	// Unschedulable means that the pod does not fit now, and that removing other pods might help.
	Unschedulable Code = iota + 1
	// UnschedulableAndUnresolvable means that removing other pods would not help.
	UnschedulableAndUnresolvable
	// Error means that the plugin could not decide.
	Error
	// Wait, from Permit, holds the pod on its node until it is allowed or rejected.
	Wait
	// Skip means that the plugin has nothing to do for this pod: from Bind, that the next one shall
	// bind it; from PreBindPreFlight, that PreBind need not be called.
	Skip
	// Pending, from Reserve, Permit and PreBind, means that the pod waits for something that is under
	// way already. It is tried again on an event that helps, without a back-off.
	Pending
)

// String returns the name of the constant.
func (c Code) String() string {
	names := [...]string{"Success", "Unschedulable", "UnschedulableAndUnresolvable", "Error", "Wait", "Skip", "Pending"}
	if int(c) < len(names) {
		return names[c]
	}
	return "Unknown"
}

// Status is a plugin's refusal, or another answer that is not plain consent; nil is consent. Statuses
// are immutable, and plugins that return the same one many times save their reader and themselves work.
type Status struct {
	Code Code
	// Reasons are parts of a sentence such as "Insufficient cpu" or "node(s) were unschedulable".
	// The same reason given by several nodes is counted.
	Reasons []string
	// Err is the cause, when Code is Error and there is one.
	Err error
}

// NewStatus returns a status with the given reasons.
func NewStatus(code Code, reasons ...string) *Status { return &Status{Code: code, Reasons: reasons} }

// AsStatus returns a status of code Error, and nil when err is nil.
func AsStatus(err error) *Status {
	if err == nil {
		return nil
	}
	return &Status{Code: Error, Reasons: []string{err.Error()}, Err: err}
}

// Rejected tells whether the status is a refusal, as opposed to a failure or another answer.
func (s *Status) Rejected() bool {
	return s != nil && (s.Code == Unschedulable || s.Code == UnschedulableAndUnresolvable || s.Code == Pending)
}

// cause returns the error that a status of code Error stands for.
func (s *Status) cause() error {
	if s.Err != nil {
		return s.Err
	}
	if len(s.Reasons) == 0 {
		return errors.New("no reason given")
	}
	return errors.New(strings.Join(s.Reasons, ", "))
}
