/* The C interface as a C program uses it: trains, predicts, saves, loads, and does everything wrong
 * once. Prints nothing but what is not as it should be.
 *
 *   capi_program FOLDER     keeps a file there while it runs
 */
#include <lockstep.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

#define EXPECT(condition) Expect((condition) != 0, #condition, __LINE__)
static void Expect(int holds, const char* what, int line) {
  if (holds) return;
  printf("line %d: not so: %s\n", line, what);
  ++failures;
}

enum { kInputs = 4, kSamples = 64 };

static float x[kSamples * kInputs];
static float halves[kSamples];   /* whether the first feature is positive */
static float corners[kSamples];  /* which quadrant the first two features lie in */
static float sums[2 * kSamples]; /* of the features, and of the first two */

static void MakeData(void) {
  unsigned state = 1;
  int i, j;
  for (i = 0; i < kSamples; ++i) {
    float* row = x + i * kInputs;
    for (j = 0; j < kInputs; ++j) {
      state = state * 1103515245u + 12345u;
      row[j] = (float)((state >> 16) & 1023u) / 512.0f - 1.0f;
    }
    halves[i] = row[0] > 0.0f ? 1.0f : 0.0f;
    corners[i] = halves[i] + (row[1] > 0.0f ? 2.0f : 0.0f);
    sums[2 * i] = row[0] + row[1] + row[2] + row[3];
    sums[2 * i + 1] = row[0] + row[1];
  }
}

static lockstep_model* Make(const char* recipe, int64_t outputs, lockstep_task task) {
  lockstep_options options = {0};
  lockstep_model* model = NULL;
  char why[256];
  options.threads = 1;
  options.batch = kSamples;
  options.inputs = kInputs;
  options.outputs = outputs;
  options.task = task;
  if (lockstep_create_from_text(recipe, &options, &model, why, sizeof(why)) != LOCKSTEP_OK) {
    printf("cannot make a model: %s\n", why);
    exit(1);
  }
  EXPECT(strcmp(why, "") == 0);
  return model;
}

static double Train(lockstep_model* model, const float* targets, int steps) {
  double first = 0.0, loss = 0.0;
  int i;
  for (i = 0; i < steps; ++i) {
    EXPECT(lockstep_train_step(model, kSamples, x, targets, &loss) == LOCKSTEP_OK);
    if (i == 0) first = loss;
  }
  EXPECT(loss < 0.5 * first);
  return loss;
}

static const char* const kRecipe =
    "model.hidden = [16, 8]\n"
    "model.dropout = 0.1\n"
    "optimizer.learning_rate = 0.02\n"
    "optimizer.clip_norm = 5.0\n";

static void TrainsEveryTask(void) {
  float y[4 * kSamples];
  int i, right = 0;
  lockstep_model* model = Make(kRecipe, 0, LOCKSTEP_TASK_AUTO);
  EXPECT(lockstep_task_of(model) == LOCKSTEP_BINARY);
  EXPECT(lockstep_inputs(model) == kInputs);
  EXPECT(lockstep_outputs(model) == 1);
  EXPECT(lockstep_targets(model) == 1);
  EXPECT(lockstep_batch(model) == kSamples);
  Train(model, halves, 100);
  EXPECT(lockstep_steps(model) == 100);
  EXPECT(lockstep_predict(model, kSamples, x, y) == LOCKSTEP_OK);
  for (i = 0; i < kSamples; ++i) {
    EXPECT(y[i] >= 0.0f && y[i] <= 1.0f);
    right += (y[i] > 0.5f) == (halves[i] > 0.5f);
  }
  EXPECT(right > kSamples * 9 / 10);
  lockstep_destroy(model);

  model = Make(kRecipe, 4, LOCKSTEP_CLASSES);
  EXPECT(lockstep_outputs(model) == 4);
  EXPECT(lockstep_targets(model) == 1);
  Train(model, corners, 100);
  EXPECT(lockstep_predict(model, kSamples, x, y) == LOCKSTEP_OK);
  for (i = 0; i < kSamples; ++i) {
    const float* p = y + 4 * i;
    EXPECT(fabs((double)p[0] + p[1] + p[2] + p[3] - 1.0) < 1e-5);
  }
  lockstep_destroy(model);

  model = Make(kRecipe, 2, LOCKSTEP_REGRESSION);
  EXPECT(lockstep_targets(model) == 2);
  Train(model, sums, 200);
  EXPECT(lockstep_set_learning_rate(model, 0.0) == LOCKSTEP_OK);
  lockstep_destroy(model);
}

static void SavesLoadsAndGoesOnToTheSameBits(const char* path) {
  float whole[kSamples], alone[kSamples], again[kSamples];
  double loss = 0.0, loss_again = 0.0;
  int i;
  char why[256];
  lockstep_options options = {0};
  lockstep_model* loaded = NULL;
  lockstep_model* model = Make(kRecipe, 1, LOCKSTEP_BINARY);
  Train(model, halves, 60);
  EXPECT(lockstep_predict(model, kSamples, x, whole) == LOCKSTEP_OK);
  for (i = 0; i < kSamples; ++i)
    EXPECT(lockstep_predict(model, 1, x + i * kInputs, alone + i) == LOCKSTEP_OK);
  EXPECT(memcmp(whole, alone, sizeof(whole)) == 0);
  EXPECT(lockstep_predict(model, 0, x, alone) == LOCKSTEP_OK);

  EXPECT(lockstep_save(model, path) == LOCKSTEP_OK);
  options.threads = 2;
  options.batch = kSamples;
  EXPECT(lockstep_load(path, &options, &loaded, why, sizeof(why)) == LOCKSTEP_OK);
  EXPECT(strcmp(why, "") == 0);
  if (loaded == NULL) return;
  EXPECT(lockstep_steps(loaded) == 60);
  EXPECT(lockstep_predict(loaded, kSamples, x, again) == LOCKSTEP_OK);
  EXPECT(memcmp(whole, again, sizeof(whole)) == 0);
  for (i = 0; i < 5; ++i) {
    EXPECT(lockstep_train_step(model, kSamples, x, halves, &loss) == LOCKSTEP_OK);
    EXPECT(lockstep_train_step(loaded, kSamples, x, halves, &loss_again) == LOCKSTEP_OK);
    EXPECT(memcmp(&loss, &loss_again, sizeof(loss)) == 0);
  }
  lockstep_destroy(loaded);

  /* More samples than its batch, and nothing to train with. */
  options.batch = 7;
  options.predict_only = 1;
  EXPECT(lockstep_load(path, &options, &loaded, NULL, 0) == LOCKSTEP_OK);
  EXPECT(lockstep_predict(loaded, kSamples, x, again) == LOCKSTEP_OK);
  EXPECT(memcmp(whole, again, sizeof(whole)) == 0);
  EXPECT(lockstep_train_step(loaded, 4, x, halves, NULL) == LOCKSTEP_INVALID);
  EXPECT(strstr(lockstep_error(loaded), "predict_only") != NULL);
  lockstep_destroy(loaded);
  lockstep_destroy(model);
}

static void SaysWhatIsWrong(const char* path) {
  lockstep_options options = {0};
  lockstep_model* model = (lockstep_model*)&options; /* to see it set to NULL */
  char why[256], small[8];
  float y[kSamples], strange[kSamples];
  double loss;

  options.inputs = kInputs;
  EXPECT(lockstep_create_from_text("model.hiden = [1]", &options, &model, why, sizeof(why)) ==
         LOCKSTEP_INVALID);
  EXPECT(model == NULL);
  EXPECT(strstr(why, "model.hidden") != NULL);
  EXPECT(lockstep_create_from_text("model.hiden = [1]", &options, &model, small, sizeof(small)) ==
         LOCKSTEP_INVALID);
  EXPECT(strlen(small) == sizeof(small) - 1);
  EXPECT(lockstep_create_from_text("", &options, NULL, why, sizeof(why)) == LOCKSTEP_INVALID);
  EXPECT(lockstep_create_from_text(NULL, &options, &model, NULL, 0) == LOCKSTEP_INVALID);
  EXPECT(lockstep_create(NULL, NULL, &model, why, sizeof(why)) == LOCKSTEP_INVALID);
  EXPECT(lockstep_create("no/such.toml", NULL, &model, why, sizeof(why)) == LOCKSTEP_NOT_FOUND);
  EXPECT(strstr(why, "no/such.toml") != NULL);
  EXPECT(lockstep_load(NULL, NULL, &model, why, sizeof(why)) == LOCKSTEP_INVALID);
  EXPECT(lockstep_load("no/such.safetensors", NULL, &model, why, sizeof(why)) ==
         LOCKSTEP_NOT_FOUND);
  options.inputs = -3;
  EXPECT(lockstep_create_from_text("", &options, &model, why, sizeof(why)) == LOCKSTEP_INVALID);
  options.inputs = kInputs;
  options.outputs = 2;
  options.task = LOCKSTEP_BINARY;
  EXPECT(lockstep_create_from_text("", &options, &model, why, sizeof(why)) == LOCKSTEP_INVALID);
  options.task = LOCKSTEP_CLASSES;
  EXPECT(lockstep_create_from_text("loss.kind = \"mse\"", &options, &model, why, sizeof(why)) ==
         LOCKSTEP_INVALID);
  EXPECT(strstr(why, "loss.kind") != NULL);

  options.outputs = 0;
  options.task = (lockstep_task)9;
  EXPECT(lockstep_create_from_text("", &options, &model, why, sizeof(why)) == LOCKSTEP_INVALID);
  EXPECT(strstr(why, "options.task") != NULL);
  options.task = LOCKSTEP_BINARY;
  options.size = 3;
  EXPECT(lockstep_create_from_text("", &options, &model, why, sizeof(why)) == LOCKSTEP_INVALID);
  EXPECT(strstr(why, "options.size") != NULL);
  options.size = sizeof(options);
  options.threads = -1;
  EXPECT(lockstep_create_from_text("", &options, &model, why, sizeof(why)) == LOCKSTEP_INVALID);

  model = Make(kRecipe, 4, LOCKSTEP_CLASSES);
  EXPECT(lockstep_train_step_weighted(model, 2, x, corners, x, &loss) == LOCKSTEP_INVALID);
  EXPECT(lockstep_train_step(NULL, 1, x, corners, &loss) == LOCKSTEP_INVALID);
  EXPECT(lockstep_train_step(model, 2, NULL, corners, &loss) == LOCKSTEP_INVALID);
  EXPECT(strcmp(lockstep_error(model), "x is NULL") == 0);
  EXPECT(lockstep_train_step(model, 2, x, NULL, &loss) == LOCKSTEP_INVALID);
  EXPECT(lockstep_train_step(model, 0, x, corners, &loss) == LOCKSTEP_INVALID);
  EXPECT(lockstep_train_step(model, kSamples + 1, x, corners, &loss) == LOCKSTEP_INVALID);
  EXPECT(strstr(lockstep_error(model), "samples is 65") != NULL);
  EXPECT(lockstep_train_step(model, 1, x, corners, &loss) == LOCKSTEP_INVALID);
  EXPECT(strstr(lockstep_error(model), "single value") != NULL);
  memcpy(strange, corners, sizeof(strange));
  strange[3] = 1.5f;
  EXPECT(lockstep_train_step(model, kSamples, x, strange, &loss) == LOCKSTEP_INVALID);
  EXPECT(strstr(lockstep_error(model), "sample 3") != NULL);
  strange[3] = 4.0f;
  EXPECT(lockstep_train_step(model, kSamples, x, strange, &loss) == LOCKSTEP_INVALID);
  strange[3] = (float)NAN;
  EXPECT(lockstep_train_step(model, kSamples, x, strange, &loss) == LOCKSTEP_INVALID);
  EXPECT(lockstep_predict(NULL, 1, x, y) == LOCKSTEP_INVALID);
  EXPECT(lockstep_predict(model, 1, NULL, y) == LOCKSTEP_INVALID);
  EXPECT(lockstep_predict(model, 1, x, NULL) == LOCKSTEP_INVALID);
  EXPECT(lockstep_predict(model, -1, x, y) == LOCKSTEP_INVALID);
  EXPECT(lockstep_predict(model, INT64_MAX, x, y) == LOCKSTEP_INVALID);
  EXPECT(lockstep_set_learning_rate(model, -1.0) == LOCKSTEP_INVALID);
  EXPECT(lockstep_set_learning_rate(NULL, 1.0) == LOCKSTEP_INVALID);
  EXPECT(lockstep_save(model, NULL) == LOCKSTEP_INVALID);
  EXPECT(lockstep_save(NULL, path) == LOCKSTEP_INVALID);
  EXPECT(lockstep_save(model, "/proc/no/such/place") != LOCKSTEP_OK);
  EXPECT(strstr(lockstep_error(model), "/proc/no/such/place") != NULL);
  EXPECT(lockstep_predict(model, 2, x, y) == LOCKSTEP_OK);
  EXPECT(strcmp(lockstep_error(model), "") == 0);
  x[5] = (float)INFINITY;
  EXPECT(lockstep_train_step(model, kSamples, x, corners, &loss) == LOCKSTEP_NON_FINITE);
  lockstep_destroy(model);

  EXPECT(lockstep_inputs(NULL) == 0 && lockstep_outputs(NULL) == 0 && lockstep_batch(NULL) == 0);
  EXPECT(lockstep_targets(NULL) == 0 && lockstep_steps(NULL) == 0);
  EXPECT(lockstep_task_of(NULL) == LOCKSTEP_TASK_AUTO);
  EXPECT(strlen(lockstep_error(NULL)) > 0);
  EXPECT(strlen(lockstep_version()) >= strlen("0.1.0"));
  lockstep_destroy(NULL);
}

/* A recipe that names its data: their shape, and how features are standardised. */
static void TakesShapesFromTheRecipesData(void) {
  float patient[20] = {0}, risk = -1.0f;
  lockstep_model* model = NULL;
  char why[256];
  EXPECT(lockstep_create_from_text("data.kind = \"clinical\"\ndata.size = 200\n", NULL, &model, why,
                                   sizeof(why)) == LOCKSTEP_OK);
  EXPECT(lockstep_inputs(model) == 20);
  EXPECT(lockstep_predict(model, 1, patient, &risk) == LOCKSTEP_OK);
  EXPECT(risk > 0.0f && risk < 1.0f);
  lockstep_destroy(model);
}

int main(int argc, char** argv) {
  char path[1024];
  if (argc != 2 || strlen(argv[1]) + 32 > sizeof(path)) return 2;
  sprintf(path, "%s/capi_program.safetensors", argv[1]);
  MakeData();
  TrainsEveryTask();
  SavesLoadsAndGoesOnToTheSameBits(path);
  TakesShapesFromTheRecipesData();
  SaysWhatIsWrong(path);
  remove(path);
  return failures == 0 ? 0 : 1;
}
