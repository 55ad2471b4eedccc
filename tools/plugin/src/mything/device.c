/* The device mything0: the smallest one that computes. It keeps its values in memory of the host and works on one thread.
 *
 * A real device keeps its values in memory of its own (no PW_DEVICE_HOST), puts work into the queue of the context, and says
 * by events when it is done; the runtime then makes its transfers of `copy`. The contract is pathweave/plugin.h, and
 * docs/devices.md says how it is used; docs/problem.md says what the text of a problem is.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pathweave/plugin.h"

#define DEVICE "mything0"

/* ---- what it computes: begin here ------------------------------------------------------------------------------- */

#define LAYER "mything"

static float compute(float x) { return x * fabsf(x); }

/* ---- kernels: a routine bound to one problem -------------------------------------------------------------------- */

typedef enum { COMPUTE, UPLOAD, DOWNLOAD } role;

typedef struct {
  role what;
  uint64_t elements;
} kernel;

static int run(void *self, const pw_context *context) {
  const kernel *k = self;
  const float *x = context->in[0];
  float *y = context->out[0];
  if (k->what != COMPUTE) memcpy(y, x, k->elements * sizeof *y);
  else for (uint64_t i = 0; i < k->elements; ++i) y[i] = compute(x[i]);
  return 0;
}

/* ---- problems --------------------------------------------------------------------------------------------------- */

/* Reads the one f32 value `in=f32:2x3x4`; 0 for any other input. */
static int read_input(const char *problem, int *rank, uint64_t *elements) {
  const char *at = strstr(problem, " in=f32:");
  *rank = 0, *elements = 1;
  if (!at) return 0;
  for (at += strlen(" in=f32:"); *at >= '0' && *at <= '9'; ++*rank) {
    char *end;
    *elements *= strtoull(at, &end, 10);
    at = *end == 'x' ? end + 1 : end;
  }
  return *at == ' ';
}

/* The format `f32:nchw:mything0` of an attribute of an adapt, its device left out: `f32:nchw:`. Gives the device. */
static const char *read_format(const char *problem, const char *attribute, char format[64]) {
  static _Thread_local char device[64];
  const char *at = strstr(problem, attribute);
  char dtype[16], layout[16];
  *format = '\0', *device = '\0';
  if (at && sscanf(at + strlen(attribute), "%15[^:]:%15[^:]:%63[^ ]", dtype, layout, device) == 3)
    snprintf(format, 64, "%s:%s:", dtype, layout);
  return device;
}

static int decline(char *reason, size_t size, const char *text) {
  snprintf(reason, size, "%s", text);
  return 1;
}

/* ---- routines: accept, list variants, name formats, prepare ----------------------------------------------------- */

static int accepts(const pw_routine_table *t, const char *problem, char *reason, size_t size) {
  const role what = *(const role *)t->context;
  char source[64], target[64];
  uint64_t elements;
  int rank;
  const size_t word = strlen(t->layer);
  if (strncmp(problem, t->layer, word) != 0 || problem[word] != ' ') return decline(reason, size, "another layer");
  if (!read_input(problem, &rank, &elements)) return decline(reason, size, "expected one input of f32");
  if (what == COMPUTE) return 0;
  if (strcmp(read_format(problem, " source=", source), what == UPLOAD ? "cpu" : DEVICE) != 0 ||
      strcmp(read_format(problem, " target=", target), what == UPLOAD ? DEVICE : "cpu") != 0)
    return decline(reason, size, "between other devices");
  return strcmp(source, target) == 0 ? 0 : decline(reason, size, "transfers keep element type and layout");
}

static int variants(const pw_routine_table *t, const char *problem, void *context, pw_emit emit) {
  (void)t, (void)problem;
  emit(context, ""); /* one variant, without a name */
  return 0;
}

static int ports(const pw_routine_table *t, const char *problem, void *context, pw_emit emit) {
  const role what = *(const role *)t->context;
  char format[64], line[256];
  uint64_t elements;
  int rank;
  if (!read_input(problem, &rank, &elements)) return 1;
  read_format(problem, " source=", format);
  if (what == COMPUTE) snprintf(format, sizeof format, "f32:%s:", rank == 4 ? "nchw" : "plain");
  snprintf(line, sizeof line, "in=%s%s out=%s%s", format, what == UPLOAD ? "cpu" : DEVICE, format,
           what == DOWNLOAD ? "cpu" : DEVICE);
  emit(context, line);
  return 0;
}

static int prepare(const pw_routine_table *t, const char *problem, const char *variant, const pw_constant *constants,
                   uint32_t count, pw_kernel *out, char *reason, size_t size) {
  int rank;
  kernel *k = calloc(1, sizeof *k);
  (void)variant, (void)constants, (void)count;
  if (!k) return decline(reason, size, "out of memory");
  k->what = *(const role *)t->context;
  read_input(problem, &rank, &k->elements);
  out->self = k;
  out->serial = 1; /* one thread calls it */
  out->run = run;
  out->destroy = free;
  return 0;
}

static const role compute_role = COMPUTE, upload_role = UPLOAD, download_role = DOWNLOAD;

/* size, version, id, layer, what it requires, accuracy, flags, context, and the functions above. An id never changes. */
#define ROUTINE(ID, KIND, ROLE) \
  {sizeof(pw_routine_table), 1, ID, KIND, "", PW_STRICT, 0, &ROLE, accepts, variants, ports, prepare}

static const pw_routine_table routines[] = {ROUTINE(LAYER "/simple:f32:nchw:" DEVICE, LAYER, compute_role),
                                            ROUTINE("adapt/upload:f32:" DEVICE, "adapt", upload_role),
                                            ROUTINE("adapt/download:f32:" DEVICE, "adapt", download_role)};

static uint32_t routine_count(void *device) {
  (void)device;
  return sizeof routines / sizeof *routines;
}
static const pw_routine_table *routine(void *device, uint32_t index) {
  return index < routine_count(device) ? &routines[index] : NULL;
}

/* ---- the device: is it there, its memory, its clock --------------------------------------------------- */

static int probe(char *reason, size_t size) {
  (void)reason, (void)size; /* 0 with a reason where the hardware or its driver is absent */
  return 1;
}
static int open_device(void **device, char *reason, size_t size) {
  (void)reason, (void)size;
  *device = NULL;
  return 0;
}
static void close_device(void *device) { (void)device; }
static int allocate(void *device, uint32_t kind, uint64_t bytes, void **memory) {
  (void)device, (void)kind;
  *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
  return *memory ? 0 : 1;
}
static void release(void *device, uint32_t kind, void *memory) {
  (void)device, (void)kind;
  free(memory);
}
static uint64_t now(void *device) {
  struct timespec t;
  (void)device;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static const char *capabilities(void *device) {
  (void)device;
  return "";
}
static const char *identity(void *device) {
  (void)device;
  return "say here what decides how fast it is: model, driver, clocks";
}

static const pw_device_table table = {.size = sizeof(pw_device_table),
                                      .abi = PW_ABI,
                                      .name = DEVICE,
                                      .description = "say here what it is",
                                      .clock = PW_CLOCK_WALL,
                                      .flags = PW_DEVICE_HOST,
                                      .probe = probe,
                                      .open = open_device,
                                      .close = close_device,
                                      .identity = identity,
                                      .capabilities = capabilities,
                                      .now = now,
                                      .routine_count = routine_count,
                                      .routine = routine,
                                      .allocate = allocate,
                                      .release = release};

/* The devices of this library. */
__attribute__((visibility("default"))) const pw_device_table *const *pathweave_devices(uint32_t abi, uint32_t *count) {
  static const pw_device_table *const tables[] = {&table};
  *count = sizeof tables / sizeof *tables;
  return abi == PW_ABI ? tables : NULL;
}
