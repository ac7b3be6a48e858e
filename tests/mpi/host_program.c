/* A C program with an MPI of its own, which trains on some of its ranks: all but rank 0, which it
 * keeps for itself where it can. The bits must be those of one process. */
#include <lockstep_mpi.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kInputs = 6, kSamples = 64, kSteps = 25 };

static float x[kSamples * kInputs], targets[kSamples];

#define EXPECT(condition)                                                           \
  do {                                                                              \
    if (!(condition)) {                                                             \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      MPI_Abort(MPI_COMM_WORLD, 1);                                                 \
    }                                                                               \
  } while (0)

static const char* const kRecipe =
    "model.hidden = [16, 8]\n"
    "model.dropout = 0.1\n"
    "optimizer.learning_rate = 0.02\n"
    "optimizer.clip_norm = 5.0\n"
    "train.shards = 8\n";

static lockstep_model* Make(lockstep_ranks* ranks) {
  char why[256];
  lockstep_options options = {0};
  lockstep_model* model = NULL;
  options.threads = 1;
  options.batch = kSamples;
  options.inputs = kInputs;
  options.ranks = ranks;
  if (lockstep_create_from_text(kRecipe, &options, &model, why, sizeof(why)) != LOCKSTEP_OK)
    fprintf(stderr, "%s\n", why);
  EXPECT(model != NULL);
  return model;
}

/* Batches of all sizes, of which a rank may have nothing. y: what it predicts then. */
static void Train(lockstep_model* model, int from, float* y, double* loss) {
  int i;
  for (i = from; i < from + kSteps; ++i) {
    const int64_t samples = i % 5 == 4 ? 2 + i % 3 : kSamples - i % 7;
    int64_t first = -1;
    const int64_t count = lockstep_share(model, samples, &first);
    EXPECT(first >= 0 && count >= 0 && first + count <= samples);
    EXPECT(lockstep_train_step(model, samples, x + first * kInputs, targets + first, loss) ==
           LOCKSTEP_OK);
  }
  EXPECT(lockstep_predict(model, kSamples, x, y) == LOCKSTEP_OK);
}

static void OnRanks(MPI_Comm comm, const char* path) {
  static float alone[kSamples], together[kSamples];
  double loss_alone = 0.0, loss = 0.0;
  char why[256];
  int rank;
  lockstep_ranks* ranks = NULL;
  lockstep_model *model, *single = Make(NULL);
  lockstep_options options = {0};
  MPI_Comm_rank(comm, &rank);
  EXPECT(lockstep_ranks_of_mpi(&comm, &ranks, why, sizeof(why)) == LOCKSTEP_OK);
  model = Make(ranks);
  EXPECT(lockstep_batch(model) == kSamples);
  Train(single, 0, alone, &loss_alone);
  Train(model, 0, together, &loss);
  EXPECT(memcmp(alone, together, sizeof(alone)) == 0);
  EXPECT(loss == loss_alone);

  /* What one rank does wrong fails on each, and changes nothing. */
  EXPECT(lockstep_train_step(model, kSamples, rank == 0 ? NULL : x, targets, NULL) ==
         LOCKSTEP_INVALID);
  EXPECT(strstr(lockstep_error(model), "x is NULL") != NULL);
  EXPECT(lockstep_steps(model) == kSteps);

  /* Saved together, and gone on with. */
  EXPECT(lockstep_save(model, path) == LOCKSTEP_OK);
  lockstep_destroy(model);
  options.batch = kSamples;
  options.ranks = ranks;
  EXPECT(lockstep_load(path, &options, &model, why, sizeof(why)) == LOCKSTEP_OK);
  Train(single, kSteps, alone, &loss_alone);
  Train(model, kSteps, together, &loss);
  EXPECT(memcmp(alone, together, sizeof(alone)) == 0);
  EXPECT(loss == loss_alone);
  lockstep_destroy(model);
  lockstep_destroy(single);
  lockstep_ranks_destroy(ranks);
}

int main(int argc, char** argv) {
  int provided, rank, size, i;
  char why[256], path[1024];
  lockstep_ranks* ranks = NULL;
  MPI_Comm comm = MPI_COMM_NULL;
  if (argc != 2) return 2; /* a folder to write to */
  EXPECT(lockstep_ranks_of_mpi(&comm, &ranks, why, sizeof(why)) == LOCKSTEP_INVALID);
  EXPECT(strstr(why, "MPI does not run") != NULL);
  EXPECT(lockstep_ranks_of_mpi(&comm, NULL, why, sizeof(why)) == LOCKSTEP_INVALID);
  EXPECT(strcmp(why, "ranks is NULL") == 0);
  lockstep_ranks_destroy(NULL);
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT(lockstep_ranks_of_mpi(&comm, &ranks, why, sizeof(why)) == LOCKSTEP_INVALID);
  EXPECT(lockstep_ranks_of_mpi(NULL, &ranks, why, sizeof(why)) == LOCKSTEP_INVALID);
  EXPECT(strstr(why, "MPI_Comm") != NULL && ranks == NULL);
  srand(1); /* the same numbers on every rank */
  for (i = 0; i < kSamples * kInputs; ++i) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
  for (i = 0; i < kSamples; ++i) targets[i] = x[i * kInputs] > x[i * kInputs + 1] ? 1.0f : 0.0f;

  MPI_Comm_split(MPI_COMM_WORLD, size > 2 && rank == 0, rank, &comm);
  snprintf(path, sizeof(path), "%s/host_%d_%d.safetensors", argv[1], size, size > 2 && rank == 0);
  OnRanks(comm, path);
  MPI_Comm_free(&comm);
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) printf("the same bits on %d ranks as on one\n", size > 2 ? size - 1 : size);
  MPI_Finalize();
  return 0;
}
