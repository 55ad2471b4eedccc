/* The device door: the C contract between the runtime and a device, the CPU included.
 *
 * A plugin is a shared library that exports `const pw_device_table *pathweave_device(uint32_t abi)`. It links nothing of
 * pathweave. Every struct starts with its size in bytes, so that a later version may append fields. Texts are UTF-8 and
 * end in NUL; a problem is handed over as its canonical text (docs/problem.md). Functions that can fail return 0 for
 * success; `reason` receives one sentence. Nothing may throw across this border.
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
  void (*barrier)(struct pw_team *team); /* all threads of the team must call it */
} pw_team;

/* A routine bound to one problem. `run` neither throws nor allocates host memory; it is called by every thread of the
 * team. in: the dynamic inputs of the problem in order (absent and constant ones left out); out: the outputs. */
typedef struct pw_kernel {
  uint32_t size;
  uint32_t serial; /* 1: call from one thread only */
  void *self;
  uint64_t workspace_bytes; /* handed to run, 64-byte aligned, not shared with a concurrent run */
  uint64_t packed_bytes;    /* memory that the kernel itself owns */
  int (*run)(void *self, const void *const *in, void *const *out, void *workspace, pw_team *team);
  void (*destroy)(void *self);
  uint64_t phases; /* of the CPU's own kernels: calls of run per step, each over with its last piece; 0 = one, to which
                      every thread of the team comes */
  /* Of the CPU's own kernels, may be NULL: memory of the kernel that thread `index` of `count` reads first in a phase. */
  void (*reads_first)(const void *self, uint64_t phase, uint32_t index, uint32_t count, const void **data, uint64_t *bytes);
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

typedef struct pw_device_table {
  uint32_t size;
  uint32_t abi; /* PW_ABI that the device was built for */
  const char *name; /* "cpu", "cuda0"; the third word of its formats */
  const char *description;
  uint32_t clock;    /* PW_CLOCK_* */
  uint32_t emulated; /* 1: right, never fast */
  uint32_t host_memory; /* 1: its buffers are host memory and need no copies */
  uint32_t reserved;
  /* > 0: present (higher = preferred); <= 0: absent, with the reason. */
  int (*probe)(char *reason, size_t reason_size);
  int (*open)(void **device, char *reason, size_t reason_size);
  void (*close)(void *device);
  int (*allocate)(void *device, uint64_t bytes, void **memory); /* 64-byte aligned */
  void (*release)(void *device, void *memory);
  int (*upload)(void *device, void *target, const void *host, uint64_t bytes, void *stream);
  int (*download)(void *device, void *host, const void *source, uint64_t bytes, void *stream);
  int (*stream_create)(void *device, void **stream);
  void (*stream_destroy)(void *device, void *stream);
  int (*stream_synchronise)(void *device, void *stream);
  int (*event_record)(void *device, void *stream, void **event);
  int (*event_wait)(void *device, void *event); /* waits and destroys it */
  uint64_t (*now)(void *device); /* nanoseconds by the declared clock */
  /* Space-separated capability words, matched against `requires_`. */
  const char *(*capabilities)(void *device);
  uint32_t (*routine_count)(void *device);
  const pw_routine_table *(*routine)(void *device, uint32_t index);
} pw_device_table;

typedef const pw_device_table *(*pw_device_entry)(uint32_t abi);

#ifdef __cplusplus
}
#endif
#endif
