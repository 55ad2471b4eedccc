/* The null devices: a plugin without arithmetic that proves the device door and makes tests of the tuner exact.
 *
 * One library with three devices, of which PW_NULL_DEVICES are offered (1 unless it says otherwise):
 * - null0 takes any memory of the host for its copies.
 * - null1 wants pinned memory (PW_DEVICE_PINNED): a copy from or to other memory of the host holds the caller up.
 * - hosted has no memory and no queue: its kernels run in a team of the host's threads, over values of the CPU.
 *
 * memory.h says what their memory is, queues.h their queues and their scripted clock. Kernels fill their outputs: `relu` and
 * the relayouts copy the first input, all others write 0.5f. Relayouts copy bytes, they do not permute.
 *
 * Layouts are nchw and nhwc for rank 4, plain otherwise; elements are f32. Routines: KIND/null:f32:LAYOUT:DEVICE for the kinds
 * below, adapt/relayout (nchw, nhwc), transfers of their own for values with padding (adapt/upload, adapt/download);
 * relu/hosted.
 *
 * Environment, read when the devices are opened:
 *   PW_NULL_DEVICES      how many devices are offered
 *   PW_NULL_MODE         absent (probe declines), absent1 (that of null1 does), open (open fails), abi (built for another ABI),
 *                        size (table too small), refuse (no table), anything else or nothing: works
 *   PW_NULL_TIMES        file of lines `NANOSECONDS ROUTINE-ID [PART OF THE PROBLEM'S TEXT]`; the last line that matches
 *                        counts, 1000 ns where none does. Copies have the ids of the runtime's transfers, and the number
 *                        of their bytes for a text
 *   PW_NULL_COPY_QUEUES  queues for copies that the devices want, 2 unless it says otherwise
 *   PW_NULL_LAG          slow (a pause before all work) or hold (nothing runs before somebody waits for it)
 *   PW_NULL_MEMORY       bytes of memory of each device
 *   PW_NULL_PADDING      bytes that a value takes more than its elements
 *   PW_NULL_WORKSPACE    1: a kernel needs as much workspace as its first output, and fails with code 97 where it has less; the
 *                        devices' own transfers take values without padding too
 *   PW_NULL_DRIVER       version of the driver, a part of the identity
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "pathweave/plugin.h"

#include "memory.h"
#include "queues.h"

#define EXPORT __attribute__((visibility("default")))

/* ---- script ---------------------------------------------------------------------------------------------------- */

enum { MAX_LINES = 4096, MAX_ID = 96, MAX_PART = 256 };
static struct line {
  char id[MAX_ID], part[MAX_PART];
  uint64_t nanoseconds;
  int code, late_code;
} lines[MAX_LINES];
static int line_count;
static uint64_t padding; /* bytes behind each value */
static int workspaces;   /* whether kernels need workspace */
static pthread_mutex_t script = PTHREAD_MUTEX_INITIALIZER;

static int add_line(const char *id, const char *part, uint64_t nanoseconds, int code, int late_code) {
  int fits = 0;
  pthread_mutex_lock(&script);
  if (line_count < MAX_LINES && strlen(id) < MAX_ID && strlen(part) < MAX_PART) {
    struct line *l = &lines[line_count++];
    strcpy(l->id, id);
    strcpy(l->part, part);
    l->nanoseconds = nanoseconds;
    l->code = code;
    l->late_code = late_code;
    fits = 1;
  }
  pthread_mutex_unlock(&script);
  return fits ? 0 : 1;
}

/* Once, however many devices are opened. */
static void read_times(const char *path) {
  static char known[4096];
  FILE *file = strcmp(known, path) != 0 && strlen(path) < sizeof known ? fopen(strcpy(known, path), "r") : NULL;
  char text[MAX_ID + MAX_PART + 32], id[MAX_ID], part[MAX_PART];
  unsigned long long nanoseconds;
  if (!file) return;
  while (fgets(text, sizeof text, file)) {
    part[0] = '\0';
    if (sscanf(text, "%llu %95s %255[^\n]", &nanoseconds, id, part) >= 2) add_line(id, part, nanoseconds, 0, 0);
  }
  fclose(file);
}

/* For tests, by dlsym: scripts a duration, or a code with which the kernels fail (0 = they work): when they are put into a
 * queue, or there (late). Kernels that exist keep what they were prepared with. */
EXPORT int null_device_set_time(const char *id, const char *part, uint64_t nanoseconds) {
  return add_line(id, part, nanoseconds, 0, 0);
}
EXPORT int null_device_set_code(const char *id, const char *part, int code) { return add_line(id, part, 0, code, 0); }
EXPORT int null_device_set_late_code(const char *id, const char *part, int code) {
  return add_line(id, part, 0, 0, code);
}
EXPORT void null_device_clear(void) {
  pthread_mutex_lock(&script);
  line_count = 0;
  pthread_mutex_unlock(&script);
}
/* Sets what a line says that matches the id and the text. */
static void look_up(const char *id, const char *text, uint64_t *nanoseconds, int *code, int *late_code) {
  *nanoseconds = 1000;
  *code = *late_code = 0;
  pthread_mutex_lock(&script);
  for (int i = 0; i < line_count; ++i) {
    if (strcmp(lines[i].id, id) != 0 || !strstr(text, lines[i].part)) continue;
    *nanoseconds = lines[i].nanoseconds;
    *code = lines[i].code;
    *late_code = lines[i].late_code;
  }
  pthread_mutex_unlock(&script);
}

/* For tests: bytes of memory in use, host waits, what was not destroyed, the clock of the calling thread. */
EXPORT int64_t null_device_live_bytes(void) {
  pthread_mutex_lock(&memory_lock);
  const uint64_t bytes = used_bytes[0] + used_bytes[1] + pinned_bytes;
  pthread_mutex_unlock(&memory_lock);
  return (int64_t)bytes;
}
EXPORT int64_t null_device_pinned_bytes(void) {
  pthread_mutex_lock(&memory_lock);
  const uint64_t bytes = pinned_bytes;
  pthread_mutex_unlock(&memory_lock);
  return (int64_t)bytes;
}
static int64_t counted(const int64_t *counter) {
  pthread_mutex_lock(&queue_lock);
  const int64_t count = *counter;
  pthread_mutex_unlock(&queue_lock);
  return count;
}
EXPORT int64_t null_device_event_waits(void) { return counted(&event_waits); }
EXPORT int64_t null_device_queue_waits(void) { return counted(&queue_waits); }
EXPORT int64_t null_device_alive(void) { return counted(&queues_alive) + counted(&events_alive); }
EXPORT void *null_device_take(uint32_t kind) {
  void *memory = NULL;
  return take_memory(0, kind, 64, &memory) == 0 ? memory : NULL;
}
EXPORT uint64_t null_device_now(void) { return host_clock; }
EXPORT void null_device_spend(uint64_t nanoseconds) { host_clock += nanoseconds; }

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

enum { COMPUTE, UPLOAD, DOWNLOAD, RELAYOUT };
typedef struct {
  int role, device;
  const char *layout; /* of rank-4 values, for COMPUTE */
} role;
static const char *const names[DEVICES] = {"null0", "null1"};

typedef struct {
  int inputs, outputs, code, engine, device;
  uint64_t nanoseconds;
  work job;
} kernel;

/* Whether the host has to wait until a copy is done: null1 can read and write pinned memory only. */
static int held_up(int device, const void *address) {
  int kind;
  (void)contents(device, address, &kind);
  return device == 1 && kind < 0;
}

static int run_kernel(void *self, const pw_context *context) {
  const kernel *k = self;
  if (context->team->count != 1 || !context->queue) return 99; /* one thread puts it into a queue */
  if (k->code) return k->code;
  work job = k->job;
  job.step = context->step;
  job.workspace = context->workspace;
  job.in = k->inputs ? context->in[0] : NULL;
  for (int o = 0; o < k->outputs; ++o) job.out[o] = context->out[o];
  const int waits = (job.in && held_up(k->device, job.in)) || held_up(k->device, job.out[0]);
  put_work(context->queue, &job, k->engine, k->nanoseconds, waits);
  return 0;
}

/* ---- routines -------------------------------------------------------------------------------------------------- */

static int decline(char *reason, size_t size, const char *text) {
  snprintf(reason, size, "%s", text);
  return 1;
}

/* Splits dtype:layout:device; 0 when it is no f32 format. */
static int split_format(const char *format, char layout[16], char device[16]) {
  return sscanf(format, "f32:%15[^:]:%15s", layout, device) == 2;
}

static int accepts_adapt(const role *r, const problem *p, char *reason, size_t size) {
  char from[16], to[16], source[16], target[16];
  const char *own = names[r->device];
  if (!split_format(p->source, from, source) || !split_format(p->target, to, target))
    return decline(reason, size, "only f32 is moved");
  if (strcmp(source, r->role == UPLOAD ? "cpu" : own) != 0 || strcmp(target, r->role == DOWNLOAD ? "cpu" : own) != 0)
    return decline(reason, size, "moves between other devices");
  if ((strcmp(from, to) == 0) == (r->role == RELAYOUT))
    return decline(reason, size, r->role == RELAYOUT ? "the layouts are equal" : "transfers keep the layout");
  if (strstr(from, "16") || strstr(to, "16")) return decline(reason, size, "blocked layouts");
  if (r->role != RELAYOUT && padding == 0 && !workspaces) return decline(reason, size, "without padding a copy does it");
  return 0;
}

static int null_accepts(const pw_routine_table *t, const char *text, char *reason, size_t size) {
  const role *r = t->context;
  problem p;
  if (!read_problem(text, &p)) return decline(reason, size, "only f32 values are held");
  if (strcmp(p.kind, t->layer) != 0) return decline(reason, size, "another layer");
  if (r->role != COMPUTE) return accepts_adapt(r, &p, reason, size);
  if (strcmp(r->layout, "nhwc") == 0 && p.out_rank[0] != 4) return decline(reason, size, "nhwc needs rank 4");
  return 0;
}

static int null_variants(const pw_routine_table *t, const char *text, void *context, pw_emit emit) {
  (void)t;
  (void)text;
  emit(context, "");
  return 0;
}

/* Appends NAME=FORMAT,... of values of these ranks. */
static void add_formats(char *line, const char *name, const role *r, int count, const int *ranks) {
  strcat(line, name);
  for (int i = 0; i < count; ++i)
    sprintf(line + strlen(line), "%s%s:%s:%s", i ? "," : "", "f32", ranks[i] == 4 ? r->layout : "plain", names[r->device]);
}

static int null_ports(const pw_routine_table *t, const char *text, void *context, pw_emit emit) {
  const role *r = t->context;
  problem p;
  char line[MAX_PORTS * 64] = "";
  if (!read_problem(text, &p)) return 1;
  if (r->role != COMPUTE) {
    snprintf(line, sizeof line, "in=%s out=%s", p.source, p.target);
  } else {
    add_formats(line, "in=", r, p.inputs, p.in_rank);
    add_formats(line, " out=", r, p.outputs, p.out_rank);
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
  k->outputs = k->job.outputs = p.outputs;
  k->device = k->job.device = r->device;
  k->engine = r->role == UPLOAD ? 1 : r->role == DOWNLOAD ? 2 : 0;
  k->job.copies = r->role != COMPUTE || strcmp(t->layer, "relu") == 0;
  k->job.in_bytes = p.in_bytes[0];
  memcpy(k->job.out_bytes, p.out_bytes, sizeof p.out_bytes);
  look_up(t->id, text, &k->nanoseconds, &k->code, &k->job.code);
  out->serial = 0; /* the runtime must see by itself that this device's kernels are no team work */
  out->self = k;
  if (workspaces) k->job.workspace_bytes = p.out_bytes[0];
  out->workspace_bytes = workspaces ? p.out_bytes[0] : 64;
  out->packed_bytes = 0;
  out->run = run_kernel;
  out->destroy = free;
  return 0;
}

#define ROUTINE(ID, LAYER, REQUIRES, ROLE)                                                                       \
  {sizeof(pw_routine_table), 1, ID, LAYER, REQUIRES, PW_STRICT, 0, &ROLE, null_accepts, null_variants, null_ports, \
   null_prepare}
#define KIND(LAYER, N)                                                    \
  ROUTINE(LAYER "/null:f32:nchw:null" #N, LAYER, "scripted", nchw##N), \
      ROUTINE(LAYER "/null:f32:nhwc:null" #N, LAYER, "scripted", nhwc##N)
#define ROUTINES(N)                                                                                                       \
  static const role nchw##N = {COMPUTE, N, "nchw"}, nhwc##N = {COMPUTE, N, "nhwc"}, upload##N = {UPLOAD, N, ""},          \
                    download##N = {DOWNLOAD, N, ""}, relayout##N = {RELAYOUT, N, ""};                                     \
  static const pw_routine_table routines##N[] = {                                                                         \
      KIND("conv2", N), KIND("depthwise_conv2", N), KIND("dense", N), KIND("max_pool2", N), KIND("average_pool2", N),     \
      KIND("global_average_pool", N), KIND("add", N), KIND("mul", N), KIND("relu", N), KIND("clip", N),                   \
      KIND("concat", N), KIND("reshape", N), KIND("softmax", N),                                                          \
      /* requires what is not there */                                                                                    \
      ROUTINE("sigmoid/null:f32:nchw:null" #N, "sigmoid", "scripted+warp9", nchw##N),                                     \
      ROUTINE("adapt/upload:f32:null" #N, "adapt", "", upload##N),                                                        \
      ROUTINE("adapt/download:f32:null" #N, "adapt", "", download##N),                                                    \
      ROUTINE("adapt/relayout:f32:null" #N, "adapt", "", relayout##N)};
ROUTINES(0)
ROUTINES(1)

/* ---- devices --------------------------------------------------------------------------------------------------- */

static char identities[DEVICES][128];
static const int numbers[DEVICES] = {0, 1};

static int mode_is(const char *mode) {
  const char *given = getenv("PW_NULL_MODE");
  return given && strcmp(given, mode) == 0;
}

static uint64_t number_of(const char *name, uint64_t otherwise) {
  return getenv(name) ? strtoull(getenv(name), NULL, 10) : otherwise;
}

static int probe(char *reason, size_t size, int absent) {
  if (!absent && !mode_is("absent")) return 10;
  snprintf(reason, size, "no null hardware in this machine");
  return 0;
}
static int probe0(char *reason, size_t size) { return probe(reason, size, 0); }
static int probe1(char *reason, size_t size) { return probe(reason, size, mode_is("absent1")); }

static int open_number(int number, void **device, char *reason, size_t size) {
  const char *driver = getenv("PW_NULL_DRIVER"), *mode = getenv("PW_NULL_LAG");
  if (mode_is("open")) return decline(reason, size, "the null driver is too old");
  if (getenv("PW_NULL_TIMES")) read_times(getenv("PW_NULL_TIMES"));
  lag = !mode ? LAG_NONE : strcmp(mode, "hold") == 0 ? LAG_HOLD : strcmp(mode, "slow") == 0 ? LAG_SLOW : LAG_NONE;
  device_bytes = number_of("PW_NULL_MEMORY", device_bytes);
  padding = number_of("PW_NULL_PADDING", 0);
  workspaces = number_of("PW_NULL_WORKSPACE", 0) != 0;
  snprintf(identities[number], sizeof identities[number], "null model %d, driver %s", number, driver ? driver : "1.0");
  *device = (void *)(uintptr_t)&numbers[number];
  return 0;
}
static int open0(void **device, char *reason, size_t size) { return open_number(0, device, reason, size); }
static int open1(void **device, char *reason, size_t size) { return open_number(1, device, reason, size); }

static void null_close(void *device) { (void)device; }
static const char *null_identity(void *device) { return identities[*(int *)device]; }
static const char *null_capabilities(void *device) {
  (void)device;
  return "scripted memory52";
}
static uint32_t null_routine_count(void *device) {
  (void)device;
  return sizeof routines0 / sizeof routines0[0];
}
static const pw_routine_table *null_routine(void *device, uint32_t index) {
  return index >= null_routine_count(device) ? NULL : *(int *)device == 0 ? &routines0[index] : &routines1[index];
}

static int null_allocate(void *device, uint32_t kind, uint64_t bytes, void **memory) {
  return take_memory(*(int *)device, kind, bytes, memory);
}
static void null_release(void *device, uint32_t kind, void *memory) {
  (void)device;
  (void)kind;
  give_memory(memory);
}
static int null_memory_info(void *device, uint32_t kind, uint64_t *free_bytes, uint64_t *total_bytes) {
  if (kind == PW_MEMORY_PINNED) return 1;
  pthread_mutex_lock(&memory_lock);
  *free_bytes = device_bytes - used_bytes[*(int *)device];
  *total_bytes = device_bytes;
  pthread_mutex_unlock(&memory_lock);
  return 0;
}
static uint64_t null_buffer_bytes(void *device, const char *format, const int64_t *sizes, uint32_t rank) {
  uint64_t bytes = 4;
  (void)device;
  if (strncmp(format, "f32:", 4) != 0) return 0;
  for (uint32_t i = 0; i < rank; ++i) bytes *= (uint64_t)sizes[i];
  return bytes + padding;
}

static int null_copy(void *device, void *queue, void *target, const void *source, uint64_t bytes, uint32_t step) {
  const int number = *(int *)device;
  int from, to;
  uint64_t nanoseconds;
  work job = {.device = number, .copies = 1, .outputs = 1, .in_bytes = bytes, .in = source, .out = {target}, .step = step};
  int code;
  (void)contents(number, source, &from);
  (void)contents(number, target, &to);
  const int engine = from != PW_MEMORY_DEVICE ? 1 : to != PW_MEMORY_DEVICE ? 2 : 0;
  char id[MAX_ID], text[32];
  snprintf(id, sizeof id, "adapt/%s:any:%s", engine == 2 ? "download" : "upload", names[number]);
  snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
  look_up(id, text, &nanoseconds, &code, &job.code);
  if (code) return code;
  put_work(queue, &job, engine, nanoseconds,
           held_up(number, source) || held_up(number, target));
  return 0;
}

#define TABLE(N, DESCRIPTION, FLAGS)                                                                                    \
  {sizeof(pw_device_table), PW_ABI, "null" #N, DESCRIPTION, PW_CLOCK_SCRIPTED, FLAGS, 2, 0, probe##N, open##N,          \
   null_close, null_identity, null_capabilities, null_now, null_routine_count, null_routine, null_allocate, null_release, \
   null_memory_info, null_buffer_bytes, null_queue_create, null_queue_destroy, null_queue_wait, null_queue_wait_event,   \
   null_copy, null_event_create, null_event_destroy, null_event_record, null_event_wait, null_event_time}

/* ---- hosted: relu by a team over memory of the CPU --------------------------------------------------------------- */

typedef struct {
  const float *in;
  float *out;
} piece;

static void relu_piece(void *self, int64_t first, int64_t last) {
  const piece *p = self;
  for (int64_t i = first; i < last; ++i) p->out[i] = p->in[i] > 0 ? p->in[i] : 0;
}

static int relu_run(void *self, const pw_context *context) {
  const kernel *k = self;
  piece p = {context->in[0], context->out[0]};
  if (context->queue || context->team->phase != 0) return 99;
  context->team->loop(context->team, (int64_t)(k->job.in_bytes / 4), 16, &p, relu_piece);
  return 0;
}

static int hosted_accepts(const pw_routine_table *t, const char *text, char *reason, size_t size) {
  problem p;
  (void)t;
  return read_problem(text, &p) ? 0 : decline(reason, size, "only f32 values are held");
}

static int hosted_ports(const pw_routine_table *t, const char *text, void *context, pw_emit emit) {
  problem p;
  char line[64];
  (void)t;
  if (!read_problem(text, &p)) return 1;
  const char *layout = p.in_rank[0] == 4 ? "nchw" : "plain";
  snprintf(line, sizeof line, "in=f32:%s:cpu out=f32:%s:cpu", layout, layout);
  emit(context, line);
  return 0;
}

static int hosted_prepare(const pw_routine_table *t, const char *text, const char *variant, const pw_constant *constants,
                          uint32_t count, pw_kernel *out, char *reason, size_t size) {
  problem p;
  kernel *k = read_problem(text, &p) ? calloc(1, sizeof *k) : NULL;
  (void)t;
  (void)variant;
  (void)constants;
  (void)count;
  if (!k) return decline(reason, size, "out of memory");
  k->job.in_bytes = p.in_bytes[0];
  out->self = k;
  out->phases = 1;
  out->run = relu_run;
  out->destroy = free;
  return 0;
}

static const pw_routine_table hosted_relu = {sizeof(pw_routine_table), 1, "relu/hosted:f32:nchw:hosted", "relu", "", PW_STRICT, 0,
                                             NULL, hosted_accepts, null_variants, hosted_ports, hosted_prepare};

static int hosted_open(void **device, char *reason, size_t size) {
  (void)reason;
  (void)size;
  *device = NULL;
  return 0;
}
static const char *hosted_text(void *device) {
  (void)device;
  return "team";
}
static uint32_t hosted_count(void *device) {
  (void)device;
  return 1;
}
static const pw_routine_table *hosted_routine(void *device, uint32_t index) {
  (void)device;
  return index == 0 ? &hosted_relu : NULL;
}
static int hosted_allocate(void *device, uint32_t kind, uint64_t bytes, void **memory) {
  (void)device;
  (void)kind;
  *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
  return *memory ? 0 : 1;
}
static void hosted_release(void *device, uint32_t kind, void *memory) {
  (void)device;
  (void)kind;
  free(memory);
}
static uint64_t hosted_now(void *device) {
  struct timespec now;
  (void)device;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- entry ----------------------------------------------------------------------------------------------------- */

EXPORT const pw_device_table *const *pathweave_devices(uint32_t abi, uint32_t *count) {
  static pw_device_table null0 = TABLE(0, "no arithmetic, scripted clock", 0),
                         null1 = TABLE(1, "no arithmetic, scripted clock, pinned memory", PW_DEVICE_PINNED);
  static const pw_device_table hosted = {.size = sizeof(pw_device_table), .abi = PW_ABI, .name = "hosted",
                                         .description = "kernels for a team", .clock = PW_CLOCK_WALL,
                                         .flags = PW_DEVICE_HOST | PW_DEVICE_THREADS, .probe = probe0, .open = hosted_open,
                                         .close = null_close, .identity = hosted_text, .capabilities = hosted_text,
                                         .now = hosted_now, .routine_count = hosted_count, .routine = hosted_routine,
                                         .allocate = hosted_allocate, .release = hosted_release};
  static const pw_device_table *const tables[] = {&null0, &null1, &hosted};
  if (mode_is("refuse") || abi != PW_ABI) return NULL;
  null0.abi = mode_is("abi") ? PW_ABI + 1 : PW_ABI;
  null0.size = mode_is("size") ? 16 : sizeof null0;
  null0.copy_queues = null1.copy_queues = (uint32_t)number_of("PW_NULL_COPY_QUEUES", 2);
  *count = (uint32_t)number_of("PW_NULL_DEVICES", 1);
  return tables;
}
