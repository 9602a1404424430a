// Package custom defines the same kinds at a real kube-apiserver and at this library's server, and compares what the two
// make of the definitions, of objects of these kinds, and what they publish about them. Definitions, their schemas and
// the objects are made at random, good and wrong ones. What is known to differ stands in testdata/known.txt, by pattern
// and with the reason; a pattern that fits nothing any more fails the test. What only other seeds than the usual one come
// across stands in testdata/seldom.txt.
package custom
