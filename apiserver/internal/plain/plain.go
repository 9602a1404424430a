// Package plain tells valid names from others by a scan. Apimachinery has regular expressions for that, and makes
// messages of what is wrong; nearly all names are valid, and those are told so here for a tenth of the time.
package plain

import "strings"

// Label tells whether apimachinery's IsDNS1123Label finds nothing wrong.
func Label(s string) bool { return len(s) <= 63 && isLabel(s) }

// Subdomain tells whether apimachinery's IsDNS1123Subdomain finds nothing wrong.
func Subdomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for {
		label, rest, more := strings.Cut(s, ".")
		if !isLabel(label) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

// isLabel is Label for any length.
func isLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

// LabelKey tells whether apimachinery's IsLabelKey, or IsQualifiedName, finds nothing wrong.
func LabelKey(s string) bool {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		if !Subdomain(s[:i]) {
			return false
		}
		s = s[i+1:]
	}
	return s != "" && LabelValue(s)
}

// LabelValue tells whether apimachinery's IsLabelValue finds nothing wrong.
func LabelValue(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > 63 || !isAlphanumeric(s[0]) || !isAlphanumeric(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlphanumeric(c byte) bool { return isLower(c) || isDigit(c) || 'A' <= c && c <= 'Z' }
