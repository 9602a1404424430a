// Package requests sends the same requests to a real kube-apiserver and to this library's server, and
// compares the answers: code, headers, reason, message, causes, and the object. The requests are made at random from
// good objects of every kind, changed in ways good, odd and wrong; TestSameForms brings them into all media types,
// TestSameWatches watches what they change. What is known to differ stands in
// testdata/known.txt, forms.txt and watches.txt, by pattern and with the reason; a pattern that fits nothing any more fails
// the test. What only other seeds than the usual one come across stands in testdata/seldom.txt.
package requests
