/* The null device: a plugin without arithmetic that proves the device door and makes tuner tests exact.
 *
 * - Memory is malloc-ed, filled with 0xff bytes (a float NaN), and handed out as addresses 2^52 too high: a host that
 *   reads or writes it directly faults.
 * - Work is queued and done when its stream is synchronised: a host that forgets to gets old bytes.
 * - The clock is scripted: now() advances by each kernel's scripted duration when the kernel is done, and by nothing
 *   else. Queue and clock belong to the calling thread.
 * - Kernels fill their outputs: `relu` and the relayouts copy the first input, all others write 0.5f. Relayouts copy
 *   bytes, they do not permute.
 *
 * Layouts are nchw and nhwc for rank 4, plain otherwise; elements are f32. Routines: KIND/null:f32:LAYOUT:null0 for
 * the kinds below, adapt/upload, adapt/download (one layout, cpu to null0 and back), adapt/relayout (nchw, nhwc).
 *
 * Environment, read when the device is opened:
 *   PW_NULL_MODE   absent (probe declines), open (open fails), abi (built for another ABI), size (table too small),
 *                  refuse (no table), anything else or nothing: works
 *   PW_NULL_TIMES  file of lines `NANOSECONDS ROUTINE-ID [PART OF THE PROBLEM'S TEXT]`; the last line that matches
 *                  counts, 1000 ns where none does
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pathweave/plugin.h"

#define EXPORT __attribute__((visibility("default")))

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static const uintptr_t device_base = (uintptr_t)1 << 52;
static _Atomic int64_t live_bytes, synchronisations;

static void *to_host(const void *device) { return (void *)((uintptr_t)device - device_base); }
static int on_device(const void *address) { return (uintptr_t)address >= device_base; }

static int null_allocate(void *device, uint64_t bytes, void **memory) {
  (void)device;
  const uint64_t whole = (bytes + 127) / 64 * 64; /* 64 bytes in front hold the size */
  char *block = aligned_alloc(64, whole + 64);
  if (!block) return 1;
  memset(block, 0xff, whole + 64);
  memcpy(block, &bytes, sizeof bytes);
  live_bytes += (int64_t)bytes;
  *memory = (void *)((uintptr_t)(block + 64) + device_base);
  return 0;
}

static void null_release(void *device, void *memory) {
  (void)device;
  char *block = (char *)to_host(memory) - 64;
  uint64_t bytes;
  memcpy(&bytes, block, sizeof bytes);
  live_bytes -= (int64_t)bytes;
  free(block);
}

/* ---- script ---------------------------------------------------------------------------------------------------- */

enum { MAX_LINES = 4096, MAX_ID = 96, MAX_PART = 256 };
static struct line {
  char id[MAX_ID], part[MAX_PART];
  uint64_t nanoseconds;
  int code;
} lines[MAX_LINES];
static int line_count;
static pthread_mutex_t script = PTHREAD_MUTEX_INITIALIZER;

static int add_line(const char *id, const char *part, uint64_t nanoseconds, int code) {
  int fits = 0;
  pthread_mutex_lock(&script);
  if (line_count < MAX_LINES && strlen(id) < MAX_ID && strlen(part) < MAX_PART) {
    struct line *l = &lines[line_count++];
    strcpy(l->id, id);
    strcpy(l->part, part);
    l->nanoseconds = nanoseconds;
    l->code = code;
    fits = 1;
  }
  pthread_mutex_unlock(&script);
  return fits ? 0 : 1;
}

static void read_times(const char *path) {
  FILE *file = fopen(path, "r");
  char text[MAX_ID + MAX_PART + 32], id[MAX_ID], part[MAX_PART];
  unsigned long long nanoseconds;
  if (!file) return;
  while (fgets(text, sizeof text, file)) {
    part[0] = '\0';
    if (sscanf(text, "%llu %95s %255[^\n]", &nanoseconds, id, part) >= 2) add_line(id, part, nanoseconds, 0);
  }
  fclose(file);
}

/* For tests, by dlsym: scripts a duration, or a code with which the kernels fail (0 = they work); kernels that exist
 * keep what they were prepared with. */
EXPORT int null_device_set_time(const char *id, const char *part, uint64_t nanoseconds) {
  return add_line(id, part, nanoseconds, 0);
}
EXPORT int null_device_set_code(const char *id, const char *part, int code) { return add_line(id, part, 0, code); }
EXPORT void null_device_clear(void) {
  pthread_mutex_lock(&script);
  line_count = 0;
  pthread_mutex_unlock(&script);
}
EXPORT int64_t null_device_live_bytes(void) { return live_bytes; }
EXPORT int64_t null_device_synchronisations(void) { return synchronisations; }

/* What the last prepare was told of values: entries, and of one of them scale and zero point (NAN for a constant). */
enum { MAX_TOLD = 8 };
static uint32_t told_count;
static double told_scale[MAX_TOLD];
static int32_t told_zero_point[MAX_TOLD];
EXPORT uint32_t null_device_told(void) { return told_count; }
EXPORT double null_device_scale(uint32_t i) { return told_scale[i]; }
EXPORT int32_t null_device_zero_point(uint32_t i) { return told_zero_point[i]; }
/* The same of every scale that is known, as text: "i8 axis 1: 0.5 -3, 0.25 4". */
static char told_scales[MAX_TOLD][256];
EXPORT const char *null_device_scales(uint32_t i) { return told_scales[i]; }
static void listen_to_scales(const pw_constant *c, char *text, size_t size) {
  text[0] = 0;
  if (c->data || !c->dtype) return;
  int at = snprintf(text, size, "%s axis %d:", c->dtype, c->axis);
  for (uint32_t k = 0; k < c->count && (size_t)at < size; ++k)
    at += snprintf(text + at, size - (size_t)at, "%s %g %d", k ? "," : "", (double)c->scales[k], c->zero_points[k]);
}
static void listen_to(const pw_constant *constants, uint32_t count) {
  told_count = count;
  for (uint32_t i = 0; i < count && i < MAX_TOLD; ++i) {
    told_scale[i] = constants[i].data ? NAN : constants[i].scale;
    told_zero_point[i] = constants[i].zero_point;
    listen_to_scales(&constants[i], told_scales[i], sizeof told_scales[i]);
  }
}

/* ---- problems -------------------------------------------------------------------------------------------------- */

enum { MAX_PORTS = 64 };
typedef struct {
  char kind[64];
  int inputs, outputs; /* dynamic inputs */
  int in_rank[MAX_PORTS], out_rank[MAX_PORTS];
  uint64_t in_bytes[MAX_PORTS], out_bytes[MAX_PORTS];
  char source[64], target[64];
} problem;

/* Reads `T,T,...` up to a space; 0 unless all are f32. */
static int read_tensors(const char *text, int *count, int *ranks, uint64_t *bytes) {
  *count = 0;
  while (*text && *text != ' ') {
    const int absent = *text == '-', constant = strncmp(text, "const:", 6) == 0;
    if (!absent) {
      int rank = 0;
      uint64_t elements = 1;
      if (constant) text += 6;
      if (strncmp(text, "f32:", 4) != 0 || *count == MAX_PORTS) return 0;
      text += 4;
      while (*text >= '0' && *text <= '9') {
        char *end;
        elements *= strtoull(text, &end, 10);
        ++rank;
        text = *end == 'x' ? end + 1 : end;
      }
      if (!constant) {
        ranks[*count] = rank;
        bytes[(*count)++] = 4 * elements;
      }
    } else {
      ++text;
    }
    if (*text == ',') ++text;
  }
  return 1;
}

/* The value of ` NAME=` in the problem's text, "" without one. */
static const char *value_of(const char *text, const char *name) {
  char key[32];
  const char *found;
  snprintf(key, sizeof key, " %s=", name);
  found = strstr(text, key);
  return found ? found + strlen(key) : "";
}

static int read_problem(const char *text, problem *p) {
  memset(p, 0, sizeof *p);
  /* Only adapts have a source and a target. */
  (void)!sscanf(value_of(text, "source"), "%63[^ ]", p->source);
  (void)!sscanf(value_of(text, "target"), "%63[^ ]", p->target);
  return sscanf(text, "%63[^ ]", p->kind) == 1 &&
         read_tensors(value_of(text, "in"), &p->inputs, p->in_rank, p->in_bytes) &&
         read_tensors(value_of(text, "out"), &p->outputs, p->out_rank, p->out_bytes) && p->outputs > 0;
}

/* ---- kernels --------------------------------------------------------------------------------------------------- */

typedef struct {
  int inputs, outputs, copies, code;
  uint64_t in_bytes, out_bytes[MAX_PORTS], nanoseconds;
} kernel;

typedef struct {
  const kernel *k;
  const void *in;
  void *out[MAX_PORTS];
} job;

enum { MAX_JOBS = 256 };
static _Thread_local job queue[MAX_JOBS];
static _Thread_local int queued;
static _Thread_local uint64_t scripted_now;

static void do_job(const job *j) {
  for (int o = 0; o < j->k->outputs; ++o) {
    float *target = on_device(j->out[o]) ? to_host(j->out[o]) : j->out[o];
    const void *source = on_device(j->in) ? to_host(j->in) : j->in;
    if (j->k->copies) {
      if (target != source) memmove(target, source, j->k->in_bytes);
    } else {
      for (uint64_t i = 0; i < j->k->out_bytes[o] / 4; ++i) target[i] = 0.5f;
    }
  }
  scripted_now += j->k->nanoseconds;
}

static int null_synchronise(void *device, void *stream) {
  (void)device;
  (void)stream;
  ++synchronisations;
  for (int i = 0; i < queued; ++i) do_job(&queue[i]);
  queued = 0;
  return 0;
}

static int run_kernel(void *self, const void *const *in, void *const *out, void *workspace, pw_team *team) {
  const kernel *k = self;
  (void)workspace;
  if (team->count != 1) return 99; /* a kernel of foreign memory is called by one thread */
  if (k->code) return k->code;
  if (queued == MAX_JOBS) null_synchronise(NULL, NULL);
  job *j = &queue[queued++];
  j->k = k;
  j->in = k->inputs ? in[0] : NULL;
  for (int o = 0; o < k->outputs; ++o) j->out[o] = out[o];
  return 0;
}

/* ---- routines -------------------------------------------------------------------------------------------------- */

enum { COMPUTE, UPLOAD, DOWNLOAD, RELAYOUT };
typedef struct {
  int role;
  const char *layout; /* of rank-4 values, for COMPUTE */
} role;

static int decline(char *reason, size_t size, const char *text) {
  snprintf(reason, size, "%s", text);
  return 1;
}

/* Splits dtype:layout:device; 0 when it is no f32 format. */
static int split_format(const char *format, char layout[16], char device[16]) {
  return sscanf(format, "f32:%15[^:]:%15s", layout, device) == 2;
}

static int accepts_adapt(int which, const problem *p, char *reason, size_t size) {
  char from[16], to[16], source[16], target[16];
  if (!split_format(p->source, from, source) || !split_format(p->target, to, target))
    return decline(reason, size, "only f32 is moved");
  if (strcmp(source, which == UPLOAD ? "cpu" : "null0") != 0 ||
      strcmp(target, which == DOWNLOAD ? "cpu" : "null0") != 0)
    return decline(reason, size, "moves between other devices");
  if ((strcmp(from, to) == 0) == (which == RELAYOUT))
    return decline(reason, size, which == RELAYOUT ? "the layouts are equal" : "transfers keep the layout");
  if (which == RELAYOUT && (strstr(from, "16") || strstr(to, "16"))) return decline(reason, size, "blocked layouts");
  return 0;
}

static int null_accepts(const pw_routine_table *t, const char *text, char *reason, size_t size) {
  const role *r = t->context;
  problem p;
  if (!read_problem(text, &p)) return decline(reason, size, "only f32 values are held");
  if (strcmp(p.kind, t->layer) != 0) return decline(reason, size, "another layer");
  if (r->role != COMPUTE) return accepts_adapt(r->role, &p, reason, size);
  if (strcmp(r->layout, "nhwc") == 0 && p.out_rank[0] != 4) return decline(reason, size, "nhwc needs rank 4");
  return 0;
}

static int null_variants(const pw_routine_table *t, const char *text, void *context, pw_emit emit) {
  (void)t;
  (void)text;
  emit(context, "");
  return 0;
}

static int null_ports(const pw_routine_table *t, const char *text, void *context, pw_emit emit) {
  const role *r = t->context;
  problem p;
  char line[MAX_PORTS * 64] = "in=";
  if (!read_problem(text, &p)) return 1;
  if (r->role != COMPUTE) {
    snprintf(line, sizeof line, "in=%s out=%s", p.source, p.target);
  } else {
    for (int i = 0; i < p.inputs; ++i) {
      if (i) strcat(line, ",");
      sprintf(line + strlen(line), "f32:%s:null0", p.in_rank[i] == 4 ? r->layout : "plain");
    }
    strcat(line, " out=");
    for (int o = 0; o < p.outputs; ++o) {
      if (o) strcat(line, ",");
      sprintf(line + strlen(line), "f32:%s:null0", p.out_rank[o] == 4 ? r->layout : "plain");
    }
    if (strcmp(t->layer, "relu") == 0) strcat(line, " reuse=0>0");
  }
  emit(context, line);
  return 0;
}

static int null_prepare(const pw_routine_table *t, const char *text, const char *variant, const pw_constant *constants,
                        uint32_t count, pw_kernel *out, char *reason, size_t size) {
  const role *r = t->context;
  problem p;
  kernel *k;
  listen_to(constants, count);
  if (*variant) return decline(reason, size, "there is one variant, without a name");
  if (!read_problem(text, &p)) return decline(reason, size, "only f32 values are held");
  if (!(k = calloc(1, sizeof *k))) return decline(reason, size, "out of memory");
  k->inputs = p.inputs;
  k->outputs = p.outputs;
  k->copies = r->role != COMPUTE || strcmp(t->layer, "relu") == 0;
  k->in_bytes = p.in_bytes[0];
  memcpy(k->out_bytes, p.out_bytes, sizeof k->out_bytes);
  k->nanoseconds = 1000;
  pthread_mutex_lock(&script);
  for (int i = 0; i < line_count; ++i) {
    if (strcmp(lines[i].id, t->id) != 0 || !strstr(text, lines[i].part)) continue;
    k->nanoseconds = lines[i].nanoseconds;
    k->code = lines[i].code;
  }
  pthread_mutex_unlock(&script);
  out->serial = 0; /* the runtime must see by itself that this device's kernels are no team work */
  out->self = k;
  out->workspace_bytes = 64;
  out->packed_bytes = 0;
  out->run = run_kernel;
  out->destroy = free;
  return 0;
}

static const role nchw = {COMPUTE, "nchw"}, nhwc = {COMPUTE, "nhwc"}, upload = {UPLOAD, ""}, download = {DOWNLOAD, ""},
                  relayout = {RELAYOUT, ""};

#define ROUTINE(ID, LAYER, REQUIRES, ROLE)                                                                       \
  {sizeof(pw_routine_table), 1, ID, LAYER, REQUIRES, PW_STRICT, 0, &ROLE, null_accepts, null_variants, null_ports, \
   null_prepare}
#define KIND(LAYER)                                               \
  ROUTINE(LAYER "/null:f32:nchw:null0", LAYER, "scripted", nchw), \
      ROUTINE(LAYER "/null:f32:nhwc:null0", LAYER, "scripted", nhwc)

static const pw_routine_table routines[] = {
    KIND("conv2"), KIND("depthwise_conv2"), KIND("dense"), KIND("max_pool2"), KIND("average_pool2"),
    KIND("global_average_pool"), KIND("add"), KIND("mul"), KIND("relu"), KIND("clip"), KIND("concat"),
    KIND("reshape"), KIND("softmax"),
    ROUTINE("sigmoid/null:f32:nchw:null0", "sigmoid", "scripted+warp9", nchw), /* requires what is not there */
    ROUTINE("adapt/upload:f32:null0", "adapt", "", upload),
    ROUTINE("adapt/download:f32:null0", "adapt", "", download),
    ROUTINE("adapt/relayout:f32:null0", "adapt", "", relayout)};

/* ---- device ---------------------------------------------------------------------------------------------------- */

static int mode_is(const char *mode) {
  const char *given = getenv("PW_NULL_MODE");
  return given && strcmp(given, mode) == 0;
}

static int null_probe(char *reason, size_t size) {
  if (!mode_is("absent")) return 10;
  snprintf(reason, size, "no null hardware in this machine");
  return 0;
}

static int null_open(void **device, char *reason, size_t size) {
  if (mode_is("open")) return decline(reason, size, "the null driver is too old");
  if (getenv("PW_NULL_TIMES")) read_times(getenv("PW_NULL_TIMES"));
  *device = &live_bytes; /* any address: the functions below check nothing but hand it through */
  return 0;
}

static void null_close(void *device) { (void)device; }

static int null_upload(void *device, void *target, const void *host, uint64_t bytes, void *stream) {
  (void)stream;
  null_synchronise(device, NULL);
  memcpy(to_host(target), host, bytes);
  return 0;
}
static int null_download(void *device, void *host, const void *source, uint64_t bytes, void *stream) {
  (void)stream;
  null_synchronise(device, NULL);
  memcpy(host, to_host(source), bytes);
  return 0;
}
static int null_stream_create(void *device, void **stream) {
  (void)device;
  *stream = NULL;
  return 0;
}
static void null_stream_destroy(void *device, void *stream) {
  (void)device;
  (void)stream;
}
static int null_event_record(void *device, void *stream, void **event) {
  (void)device;
  (void)stream;
  *event = NULL;
  return 0;
}
static int null_event_wait(void *device, void *event) {
  (void)event;
  return null_synchronise(device, NULL);
}
static uint64_t null_now(void *device) {
  (void)device;
  return scripted_now;
}
static const char *null_capabilities(void *device) {
  (void)device;
  return "scripted memory52";
}
static uint32_t null_routine_count(void *device) {
  (void)device;
  return sizeof routines / sizeof routines[0];
}
static const pw_routine_table *null_routine(void *device, uint32_t index) {
  return index < null_routine_count(device) ? &routines[index] : NULL;
}

EXPORT const pw_device_table *pathweave_device(uint32_t abi) {
  static pw_device_table table = {sizeof(pw_device_table),
                                  PW_ABI,
                                  "null0",
                                  "no arithmetic, scripted clock",
                                  PW_CLOCK_SCRIPTED,
                                  0,
                                  0,
                                  0,
                                  null_probe,
                                  null_open,
                                  null_close,
                                  null_allocate,
                                  null_release,
                                  null_upload,
                                  null_download,
                                  null_stream_create,
                                  null_stream_destroy,
                                  null_synchronise,
                                  null_event_record,
                                  null_event_wait,
                                  null_now,
                                  null_capabilities,
                                  null_routine_count,
                                  null_routine};
  if (mode_is("refuse") || abi != PW_ABI) return NULL;
  table.abi = mode_is("abi") ? PW_ABI + 1 : PW_ABI;
  table.size = mode_is("size") ? 16 : sizeof table;
  return &table;
}
