/* Queues of the null devices: each is a thread that runs behind the caller. Their clock is scripted: every device has an
 * engine for kernels and one for copies each way, work takes its scripted time on its engine, and nothing else takes any. A
 * thread of the host has a clock of its own, which goes on when it waits. Times are found when work is put into a queue, so
 * that they do not depend on how fast the threads are. */
#include <pthread.h>
#include <unistd.h>

enum { MAX_PORTS = 64, MAX_WORK = 256, ENGINES = 3 };
enum { LAG_NONE, LAG_SLOW, LAG_HOLD };
static int lag; /* how far queues are behind: LAG_SLOW: a pause before all work; LAG_HOLD: nothing runs before it is waited for */

struct queue;
struct event {
  struct queue *queue;
  uint64_t recorded, done; /* how often */
  uint64_t number;         /* of the work in its queue that the last record was */
  uint64_t time;
  int code;
  uint32_t step;
};
typedef struct {
  enum { RUN, RECORD, WAIT, END } verb;
  int device, copies, outputs, code;
  uint64_t in_bytes, out_bytes[MAX_PORTS];
  const void *in;
  void *out[MAX_PORTS];
  uint32_t step;
  void *workspace; /* of which it needs so many bytes; 0: it does not look */
  uint64_t workspace_bytes;
  struct event *event;
  uint64_t times;       /* of WAIT: how often the event must have been recorded */
  struct queue *before; /* of WAIT: the queue of the event, and the number of the record there */
  uint64_t number;
} work;
struct queue {
  int device;
  pthread_t thread;
  work ring[MAX_WORK];
  uint64_t first, last, until; /* done, put there, and may run */
  uint64_t time;
  int code;
  uint32_t step;
};

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t engine_free[DEVICES][ENGINES];
static _Thread_local uint64_t host_clock;
static int64_t event_waits, queue_waits, events_alive, queues_alive;

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Lets a queue run up to some work. */
static void allow(struct queue *q, uint64_t until) {
  if (until > q->until) {
    q->until = until;
    pthread_cond_broadcast(&changed);
  }
}

/* Fills the outputs of a step. */
static int do_work(const work *w) {
  int kind;
  if (lag == LAG_SLOW) usleep(300);
  if (w->code) return w->code;
  if (w->workspace_bytes > 0 && block_bytes(w->device, w->workspace) < w->workspace_bytes) return 97;
  const void *source = w->in ? contents(w->device, w->in, &kind) : NULL;
  if (w->in && !source) return 98;
  for (int o = 0; o < w->outputs; ++o) {
    float *target = contents(w->device, w->out[o], &kind);
    if (!target) return 98;
    if (w->copies) {
      if ((const void *)target != source) memmove(target, source, w->in_bytes);
    } else {
      for (uint64_t i = 0; i < w->out_bytes[o] / 4; ++i) target[i] = 0.5f;
    }
  }
  return 0;
}

/* Runs one piece of work; called and left with the lock held. */
static void perform(struct queue *q, work *w) {
  if (w->verb == RUN && q->code == 0) {
    pthread_mutex_unlock(&queue_lock);
    const int code = do_work(w);
    pthread_mutex_lock(&queue_lock);
    if (code) q->code = code, q->step = w->step;
  } else if (w->verb == RECORD) {
    w->event->code = q->code;
    w->event->step = q->step;
    w->event->done = w->times;
  } else if (w->verb == WAIT) {
    if (w->event->done < w->times) allow(w->before, w->number + 1);
    while (w->event->done < w->times) pthread_cond_wait(&changed, &queue_lock);
    if (w->event->code && !q->code) q->code = w->event->code, q->step = w->event->step;
  }
}

static void *serve(void *self) {
  struct queue *q = self;
  int ended = 0;
  pthread_mutex_lock(&queue_lock);
  while (!ended) {
    while (q->first == q->last || q->first >= q->until) pthread_cond_wait(&changed, &queue_lock);
    work *w = &q->ring[q->first % MAX_WORK];
    ended = w->verb == END;
    perform(q, w);
    ++q->first;
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&queue_lock);
  return NULL;
}

/* Puts work into a queue; with the lock held. */
static void put(struct queue *q, const work *w) {
  while (q->last - q->first == MAX_WORK) {
    allow(q, q->last); /* full: the caller waits for some of it */
    pthread_cond_wait(&changed, &queue_lock);
  }
  q->ring[q->last++ % MAX_WORK] = *w;
  if (lag != LAG_HOLD) allow(q, q->last);
}

static void drain(struct queue *q) {
  const uint64_t all = q->last;
  allow(q, all);
  while (q->first < all) pthread_cond_wait(&changed, &queue_lock);
}

/* Puts work of that length on an engine; `at_once`: the caller goes on when it is done. */
static void put_work(struct queue *q, const work *w, int engine, uint64_t nanoseconds, int at_once) {
  pthread_mutex_lock(&queue_lock);
  uint64_t *engine_clock = &engine_free[q->device][engine];
  q->time = *engine_clock = later(later(q->time, host_clock), *engine_clock) + nanoseconds;
  put(q, w);
  if (at_once) {
    drain(q);
    host_clock = later(host_clock, q->time);
  }
  pthread_mutex_unlock(&queue_lock);
}

static int null_queue_create(void *device, uint32_t use, void **queue) {
  struct queue *q = calloc(1, sizeof *q);
  (void)use;
  if (!q) return 1;
  q->device = *(int *)device;
  q->step = PW_NO_STEP;
  if (pthread_create(&q->thread, NULL, serve, q)) {
    free(q);
    return 1;
  }
  pthread_mutex_lock(&queue_lock);
  ++queues_alive;
  pthread_mutex_unlock(&queue_lock);
  *queue = q;
  return 0;
}

static void null_queue_destroy(void *device, void *queue) {
  struct queue *q = queue;
  const work end = {.verb = END};
  (void)device;
  pthread_mutex_lock(&queue_lock);
  put(q, &end);
  allow(q, q->last);
  --queues_alive;
  pthread_mutex_unlock(&queue_lock);
  pthread_join(q->thread, NULL);
  free(q);
}

static int null_queue_wait(void *device, void *queue, uint32_t *step) {
  struct queue *q = queue;
  (void)device;
  pthread_mutex_lock(&queue_lock);
  ++queue_waits;
  drain(q);
  host_clock = later(host_clock, q->time);
  const int code = q->code;
  *step = q->step;
  q->code = 0;
  q->step = PW_NO_STEP;
  pthread_mutex_unlock(&queue_lock);
  return code;
}

static int null_queue_wait_event(void *device, void *queue, void *event) {
  struct queue *q = queue;
  struct event *e = event;
  (void)device;
  pthread_mutex_lock(&queue_lock);
  if (e->recorded) {
    const work wait = {.verb = WAIT, .event = e, .times = e->recorded, .before = e->queue, .number = e->number};
    q->time = later(q->time, e->time);
    put(q, &wait);
  }
  pthread_mutex_unlock(&queue_lock);
  return 0;
}

static int null_event_create(void *device, void **event) {
  (void)device;
  *event = calloc(1, sizeof(struct event));
  if (!*event) return 1;
  pthread_mutex_lock(&queue_lock);
  ++events_alive;
  pthread_mutex_unlock(&queue_lock);
  return 0;
}

static void null_event_destroy(void *device, void *event) {
  (void)device;
  pthread_mutex_lock(&queue_lock);
  --events_alive;
  pthread_mutex_unlock(&queue_lock);
  free(event);
}

static int null_event_record(void *device, void *event, void *queue) {
  struct queue *q = queue;
  struct event *e = event;
  (void)device;
  pthread_mutex_lock(&queue_lock);
  e->queue = q;
  e->time = q->time = later(q->time, host_clock);
  const work record = {.verb = RECORD, .event = e, .times = ++e->recorded};
  put(q, &record);
  e->number = q->last - 1;
  pthread_mutex_unlock(&queue_lock);
  return 0;
}

static int null_event_wait(void *device, void *event) {
  struct event *e = event;
  (void)device;
  pthread_mutex_lock(&queue_lock);
  ++event_waits;
  const uint64_t times = e->recorded;
  if (e->done < times) allow(e->queue, e->number + 1);
  while (e->done < times) pthread_cond_wait(&changed, &queue_lock);
  host_clock = later(host_clock, e->time);
  const int code = e->code;
  pthread_mutex_unlock(&queue_lock);
  return code;
}

static int null_event_time(void *device, void *event, uint64_t *nanoseconds) {
  struct event *e = event;
  (void)device;
  pthread_mutex_lock(&queue_lock);
  const int over = e->recorded > 0 && e->done == e->recorded;
  *nanoseconds = e->time;
  pthread_mutex_unlock(&queue_lock);
  return over ? 0 : 1;
}

static uint64_t null_now(void *device) {
  (void)device;
  return host_clock;
}
