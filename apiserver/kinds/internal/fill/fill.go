// Package fill fills in what a client left out.
package fill

// Nil makes p point to v if it points nowhere.
func Nil[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

// Empty sets p to v if it has its type's zero value.
func Empty[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
