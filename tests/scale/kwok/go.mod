// A module whose only purpose is `go build sigs.k8s.io/kwok/cmd/kwok`: the kubelet of the nodes that aren't there.
module kwok

go 1.26.0

require sigs.k8s.io/kwok v0.8.0 // indirect
