// Package scheduler places pods on nodes, as kube-scheduler does.
//
// It has two halves that can be used apart:
//
//   - a pure core: [Profile.Schedule] is a function of a [Snapshot] and a pod. It does no I/O, reads no
//     clock, and takes the random source that breaks ties as an argument. A snapshot is an immutable
//     value that shares structure with its copies, so that a what-if question ("would this fit if I
//     drained that node?") costs a few microseconds and no API server. [Profile.ScheduleAll] places many pods,
//     and [BindAll] binds what it has placed;
//   - a loop: [Scheduler.Run] watches pods and nodes through a client.Interface, keeps a queue of
//     pods that wait, and binds them. It runs against an API server in the same process, over
//     HTTPS, and against a real Kubernetes.
//
// What decides are [Plugin] values at Kubernetes' extension points, passed in explicitly; see
// [DefaultPlugins]. Reasons, events and conditions are in kube-scheduler's own words.
package scheduler
