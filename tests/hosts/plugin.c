/* A plugin in C, see unload_host.cc and versions_host.cc. PLUGIN_RELEASE is the release it is on. */
#include <lockstep.h>
#include <stddef.h>
#include <string.h>

enum { kInputs = 16, kSamples = 64 };

int plugin_run(int join_host_arena);

int plugin_run(int join_host_arena) {
  static float x[kSamples * kInputs], y[kSamples], told[kSamples];
  lockstep_options options = {0};
  lockstep_model* model = NULL;
  int i, failed;
  if (strcmp(LOCKSTEP_VERSION_TEXT, PLUGIN_RELEASE) != 0) return 2;
  if (strcmp(lockstep_version(), PLUGIN_RELEASE) != 0) return 3;
  options.threads = 2;
  options.join_host_arena = join_host_arena;
  options.batch = kSamples;
  options.inputs = kInputs;
  options.outputs = 1;
  options.task = LOCKSTEP_BINARY;
  for (i = 0; i < kSamples * kInputs; ++i) x[i] = (float)((i * 37) % 101) / 101.0f;
  for (i = 0; i < kSamples; ++i) y[i] = x[kInputs * i] < x[kInputs * i + 1] ? 1.0f : 0.0f;
  failed = lockstep_create_from_text("model.hidden = [128]", &options, &model, NULL, 0) != 0;
  for (i = 0; i < 5 && !failed; ++i)
    failed = lockstep_train_step(model, kSamples, x, y, NULL) != LOCKSTEP_OK;
  failed = failed || lockstep_predict(model, kSamples, x, told) != LOCKSTEP_OK;
  failed = failed || !(told[0] > 0.0f && told[0] < 1.0f);
  lockstep_destroy(model);
  return failed;
}
