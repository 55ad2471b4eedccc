/* The device door: the C contract between the runtime and a device, the CPU included.
 *
 * A plugin is a shared library that exports
 *
 *     const pw_device_table *const *pathweave_devices(uint32_t abi, uint32_t *count)
 *
 * which gives the tables of the devices that it offers and how many there are, or NULL where it does not speak that ABI.
 * It links nothing of pathweave. Every struct starts with its size in bytes, so that a later version may append fields.
 * Texts are UTF-8 and end in NUL; a problem is handed over as its canonical text (docs/problem.md). Functions that can fail
 * return 0 for success; `reason` receives one sentence. Nothing may throw across this border. docs/devices.md tells how
 * the runtime uses a device.
 */
#ifndef PATHWEAVE_PLUGIN_H
#define PATHWEAVE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PW_ABI 2u

/* The threads that run one step together. Kernels with `serial` set see count == 1. */
typedef struct pw_team {
  uint32_t size;
  uint32_t index; /* of the calling thread, 0 = the caller of the session */
  uint32_t count;
  void (*barrier)(struct pw_team *team); /* all threads of the team must call it; not in a kernel with phases */
  int64_t phase;                         /* which phase of the kernel runs */
  /* Calls body(self, first, last) for pieces of n items, `grain` items each but for the last. All threads that come to a
   * phase call it with the same n and grain; who is done with its own share takes pieces of others. */
  void (*loop)(struct pw_team *team, int64_t n, int64_t grain, void *self,
               void (*body)(void *self, int64_t first, int64_t last));
} pw_team;

/* One run of a kernel. in: the dynamic inputs of the problem in order (absent and constant ones left out); out: the
 * outputs. in_sizes, out_sizes: the logical sizes of each in this run, as many as its rank: those of the problem, but for
 * the axes that the kernel says are `open`. A value lies densely in memory, whatever its sizes are in this run. Where
 * the size of an output depends on contents, the kernel writes it to out_sizes; it finds the bound there, or -1 where there is none:
 * out is NULL then, and `take` gives the memory once the kernel knows the bytes (NULL: there is no memory). */
typedef struct pw_context {
  uint32_t size;
  uint32_t step; /* the caller's number of this run: a queue whose work failed names it (queue_wait) */
  const void *const *in;
  void *const *out;
  const int64_t *const *in_sizes;
  int64_t *const *out_sizes;
  void *workspace;
  pw_team *team;
  void *queue; /* of the device: `run` puts its work there and returns. NULL (PW_DEVICE_HOST): the work is done on return */
  void *(*take)(const struct pw_context *, uint32_t output, uint64_t bytes);
  void *owner; /* of `take` */
} pw_context;

/* A routine bound to one problem. `run` neither throws nor allocates host memory. It is called with a context that is the
 * same for all threads but for the team: by every thread of the team where the device is PW_DEVICE_HOST and the kernel not
 * `serial`, else by the first thread alone. */
typedef struct pw_kernel {
  uint32_t size;
  uint32_t serial; /* 1: call from one thread only */
  void *self;
  uint64_t workspace_bytes; /* handed to run, 64-byte aligned, not shared with work that may run at the same time */
  uint64_t packed_bytes;    /* memory that the kernel itself owns */
  int (*run)(void *self, const pw_context *context);
  void (*destroy)(void *self);
  /* 0: a run is one call, to which every thread of the team comes. n > 0: a run is n calls, one after another; all work of
   * a call lies in `loop` of the team, and the call is over with its last piece, whoever did it. A thread that comes late
   * may do what stands around the pieces when the workspace and the values have other uses already. */
  uint64_t phases;
  /* May be NULL: host memory of the kernel that thread `index` of `count` reads first in a phase. */
  void (*reads_first)(const void *self, uint64_t phase, uint32_t index, uint32_t count, const void **data, uint64_t *bytes);
  /* May be NULL: 1 where `run` goes by the size of this axis in the context, which may be any from 0 to that of the problem;
   * where it is larger, the caller prepares another kernel. port: inputs as in `in`, then outputs. */
  int (*open)(const void *self, uint32_t port, uint32_t axis);
} pw_kernel;

/* One input or output of the problem: contents of a constant, or data == NULL for a value or an absent input.
 * Equal non-zero ids promise equal contents, so that packed copies may be shared.
 *
 * Of a value the rest says how an integer format of it is read: real = scale * (q - zero_point). Where one scale in u8 does
 * for the whole value, `scale` and `zero_point` are it; `scale` is 0 where nothing is known, and where the value has a scale
 * of another kind, so that a routine which looks at these two alone declines that. The fields behind them say every scale
 * that is known: position k along `axis` has scales[k] and zero_points[k]. The arrays live as long as the call.
 *
 * These lie in an array: entries are `size` bytes apart, which later versions may make more. */
typedef struct pw_constant {
  uint32_t size;
  int32_t zero_point; /* of a value */
  const void *data;
  union {
    uint64_t id; /* of a constant */
    float scale; /* of a value */
  };
  /* Since ABI 2. */
  const char *dtype; /* of the integers: u8, i8, u16, i16 or i32; NULL where no scale is known */
  int32_t axis;      /* of the logical shape; -1: one scale for the whole value */
  uint32_t count;    /* of scales and of zero points: the length of the axis, or 1 */
  const float *scales;
  const int32_t *zero_points;
} pw_constant;

typedef void (*pw_emit)(void *context, const char *text);

enum { PW_STRICT = 0, PW_F32 = 1, PW_REDUCED = 2, PW_QUANTISED = 3 }; /* accuracy classes */
enum {
  PW_ROUTINE_REFERENCE = 1,     /* slow and simple: a candidate only where nothing else accepts, or when asked for */
  PW_ROUTINE_TAKES_EPILOGUE = 2, /* may accept problems with an epilogue; otherwise it runs as steps of its own */
  PW_ROUTINE_AXIS_SCALES = 4     /* takes values with a scale per position of an axis; others are handed one per value */
};

typedef struct pw_routine_table {
  uint32_t size;
  uint32_t version;
  const char *id;       /* conv2/winograd4:f32:nhwc:cpu, never changes */
  const char *layer;    /* layer kind, or "adapt" */
  const char *requires_; /* capability words joined by '+', "" = none */
  uint32_t accuracy;
  uint32_t flags;
  const void *context;
  /* 0 = accepts; else the reason in one sentence. */
  int (*accepts)(const struct pw_routine_table *, const char *problem, char *reason, size_t reason_size);
  /* Emits each variant's text (at least one, "" allowed). */
  int (*variants)(const struct pw_routine_table *, const char *problem, void *context, pw_emit emit);
  /* Emits one line: in=FORMAT,... out=FORMAT,... [share=IN>OUT@BYTES ...] [reuse=IN>OUT ...] [order=N].
   * share: the kernel skips a copy where input IN lies at byte BYTES of output OUT (same contents, both readable). One of
   * the two lies inside the other: BYTES is negative where OUT begins -BYTES bytes into IN, as a part of a split does.
   * reuse: output OUT may overwrite input IN, which dies. Both are hints; the kernel is right without them.
   * order: a guess for who has not measured anything: lower comes first, 0 unless named. -1: on such a problem usually
   * the fastest way. */
  int (*ports)(const struct pw_routine_table *, const char *problem, void *context, pw_emit emit);
  /* `constants`: one per problem input, in order, then one per output. */
  int (*prepare)(const struct pw_routine_table *, const char *problem, const char *variant,
                 const pw_constant *constants, uint32_t constant_count, pw_kernel *kernel, char *reason,
                 size_t reason_size);
} pw_routine_table;

enum { PW_CLOCK_WALL = 0, PW_CLOCK_EVENT = 1, PW_CLOCK_PACKETS = 2, PW_CLOCK_SCRIPTED = 3 };

enum { /* pw_device_table.flags */
  PW_DEVICE_HOST = 1,     /* its memory is the host's, the work of a kernel is done when `run` returns, and a team of the
                             host's threads may run it: it has no queues and no events */
  PW_DEVICE_EMULATED = 2, /* right, never fast */
  PW_DEVICE_THREADS = 4,  /* the times of its routines depend on the number of threads in the problem */
  PW_DEVICE_PINNED = 8    /* copies run beside other work, or fast, only from and to pinned memory: what crosses to it lies
                             in pinned memory wherever the runtime chooses the place */
};

enum { /* kinds of memory */
  PW_MEMORY_DEVICE = 0,  /* the device's own; the host does not touch it */
  PW_MEMORY_VISIBLE = 1, /* the device's own, which the host reads and writes as well */
  PW_MEMORY_PINNED = 2   /* the host's, from and to which every device of the library copies beside other work */
};

enum { PW_QUEUE_WORK = 0, PW_QUEUE_COPY = 1, PW_QUEUE_COPY_BACK = 2 }; /* what a queue is for */

#define PW_NO_STEP UINT32_MAX

/* One device. Its functions may be called from several threads at once; one queue, and the events recorded in it, belong to
 * one thread at a time. All after `routine` may be NULL where PW_DEVICE_HOST is set, but for allocate and release.
 *
 * A queue runs what is put into it in order: kernels (by `run`) and copies. Two queues run beside each other.
 *
 * *Waiting* for a queue or for an event means: all work that was put into the queue before (before the record) is done, and
 * its results are visible to the host, to copies and to the work of every queue that is put there later. The host waits by
 * queue_wait and event_wait; a queue waits for an event of another queue of the same device by queue_wait_event, which
 * returns at once. Between two devices the host waits. An event that was never recorded is over. Recording an event again
 * gives it a new meaning for waits that come later; earlier waits keep the old one.
 *
 * Where work in a queue fails, what comes behind it in the queue is passed over, and a queue that waits for a later event of
 * it fails alike. event_wait gives the code and changes nothing. queue_wait gives the code, and in `step` the number that the
 * failed work had in its context (PW_NO_STEP where that is not known); from then on the queue is as new. */
typedef struct pw_device_table {
  uint32_t size;
  uint32_t abi; /* PW_ABI that the device was built for */
  const char *name; /* "cpu", "cuda0"; the third word of its formats */
  const char *description;
  uint32_t clock; /* PW_CLOCK_* */
  uint32_t flags; /* PW_DEVICE_* */
  uint32_t copy_queues; /* of a session: 0 = copies go into the queue of the work, 1 = they have a queue of their own,
                           2 = one from the host and one back to it */
  uint32_t reserved;
  /* > 0: present (higher = preferred); <= 0: absent, with the reason. */
  int (*probe)(char *reason, size_t reason_size);
  int (*open)(void **device, char *reason, size_t reason_size);
  void (*close)(void *device);
  /* What decides how fast it is, as a text: model, driver, clocks. Times measured under another identity are not used. */
  const char *(*identity)(void *device);
  /* Space-separated capability words, matched against `requires_`. */
  const char *(*capabilities)(void *device);
  uint64_t (*now)(void *device); /* nanoseconds by the declared clock, as the calling thread sees it */
  uint32_t (*routine_count)(void *device);
  const pw_routine_table *(*routine)(void *device, uint32_t index);

  /* 64-byte aligned memory of a kind; nonzero where there is none, or none of that kind. */
  int (*allocate)(void *device, uint32_t kind, uint64_t bytes, void **memory);
  void (*release)(void *device, uint32_t kind, void *memory);
  /* Bytes of memory of a kind, free and in all; nonzero where that is not known. */
  int (*memory_info)(void *device, uint32_t kind, uint64_t *free_bytes, uint64_t *total_bytes);
  /* Bytes that a value of this format and these sizes takes here, at least those of its elements; 0: it is not held. */
  uint64_t (*buffer_bytes)(void *device, const char *format, const int64_t *sizes, uint32_t rank);

  int (*queue_create)(void *device, uint32_t use, void **queue);
  void (*queue_destroy)(void *device, void *queue); /* after a queue_wait */
  int (*queue_wait)(void *device, void *queue, uint32_t *step);
  int (*queue_wait_event)(void *device, void *queue, void *event);
  /* Puts a copy into a queue: between the host and the device, either way, or inside one of them. Host memory that is not
   * pinned is allowed; the call may then last as long as the copy. step: as in pw_context. */
  int (*copy)(void *device, void *queue, void *target, const void *source, uint64_t bytes, uint32_t step);
  int (*event_create)(void *device, void **event);
  void (*event_destroy)(void *device, void *event);
  int (*event_record)(void *device, void *event, void *queue);
  int (*event_wait)(void *device, void *event);
  /* When the work before the event was done, nanoseconds by the declared clock; of an event that was waited for. */
  int (*event_time)(void *device, void *event, uint64_t *nanoseconds);
} pw_device_table;

typedef const pw_device_table *const *(*pw_devices_entry)(uint32_t abi, uint32_t *count);

#ifdef __cplusplus
}
#endif
#endif
