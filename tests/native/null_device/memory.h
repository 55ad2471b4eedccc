/* Memory of the null devices. What a device has of its own is seen by the host as an address range that nobody may touch: a
 * host that reads or writes it faults. Its contents lie elsewhere, and only the thread of a queue knows where. */
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAX_BLOCKS = 65536, PAGE = 4096, DEVICES = 2 };
struct block {
  char *face, *store; /* what the host sees, and where the contents are */
  uint64_t bytes, span;
  int device;
  uint32_t kind;
};
static struct block blocks[MAX_BLOCKS];
static int block_count;
static pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t used_bytes[DEVICES], pinned_bytes, device_bytes = (uint64_t)4 << 30;

static char *map(uint64_t span, int access) {
  char *at = mmap(NULL, span, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

static int add_block(int device, uint32_t kind, uint64_t bytes, void **memory) {
  struct block b = {NULL, NULL, bytes, (bytes + 64 + PAGE - 1) / PAGE * PAGE, device, kind};
  if (block_count == MAX_BLOCKS || (kind != PW_MEMORY_PINNED && bytes > device_bytes - used_bytes[device])) return 1;
  if (!(b.store = map(b.span, PROT_READ | PROT_WRITE))) return 1;
  b.face = kind == PW_MEMORY_DEVICE ? map(b.span, PROT_NONE) : b.store;
  if (!b.face) {
    munmap(b.store, b.span);
    return 1;
  }
  memset(b.store, 0xff, bytes); /* floats that are NaN */
  *(kind == PW_MEMORY_PINNED ? &pinned_bytes : &used_bytes[device]) += bytes;
  blocks[block_count++] = b;
  *memory = b.face;
  return 0;
}

static int take_memory(int device, uint32_t kind, uint64_t bytes, void **memory) {
  pthread_mutex_lock(&memory_lock);
  const int code = add_block(device, kind, bytes, memory);
  pthread_mutex_unlock(&memory_lock);
  return code;
}

static void give_memory(void *memory) {
  pthread_mutex_lock(&memory_lock);
  for (int i = 0; i < block_count; ++i) {
    const struct block b = blocks[i];
    if (b.face != memory) continue;
    *(b.kind == PW_MEMORY_PINNED ? &pinned_bytes : &used_bytes[b.device]) -= b.bytes;
    if (b.face != b.store) munmap(b.face, b.span);
    munmap(b.store, b.span);
    blocks[i] = blocks[--block_count];
    break;
  }
  pthread_mutex_unlock(&memory_lock);
}

/* Bytes of the block at an address of the device; 0 where none begins there. */
static uint64_t block_bytes(int device, const void *address) {
  uint64_t bytes = 0;
  pthread_mutex_lock(&memory_lock);
  for (int i = 0; i < block_count; ++i)
    if (blocks[i].face == address && blocks[i].device == device) bytes = blocks[i].bytes;
  pthread_mutex_unlock(&memory_lock);
  return bytes;
}

/* Where the contents of an address are; NULL where they belong to another device. kind: of its memory, -1 for memory of the
 * host that is not pinned. */
static void *contents(int device, const void *address, int *kind) {
  char *at = (char *)(uintptr_t)address;
  *kind = -1;
  pthread_mutex_lock(&memory_lock);
  for (int i = 0; i < block_count; ++i) {
    const struct block *b = &blocks[i];
    if (at < b->face || at >= b->face + b->span) continue;
    *kind = (int)b->kind;
    at = b->device == device || b->kind == PW_MEMORY_PINNED ? b->store + (at - b->face) : NULL;
    break;
  }
  pthread_mutex_unlock(&memory_lock);
  return at;
}
