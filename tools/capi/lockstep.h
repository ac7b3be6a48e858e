/*
 * Lockstep for C: train a network on your buffers and predict with it.
 *
 *   lockstep_model* model = NULL;
 *   char why[256];
 *   lockstep_options options = {0};
 *   options.inputs = 20;
 *   if (lockstep_create_from_text("model.hidden = [64, 32]", &options, &model, why, sizeof(why)))
 *     return fail(why);
 *   lockstep_train_step(model, 32, x, targets, &loss);
 *   lockstep_predict(model, 1, x, &probability);
 *   lockstep_destroy(model);
 *
 * Link with lockstep::c (CMake: find_package(lockstep COMPONENTS c), languages C and CXX) or with
 * what `pkg-config --libs lockstep-c` says. C++ programs include <lockstep/lockstep.h> instead,
 * which offers much more.
 *
 * Ownership. A model owns all its memory and copies what it is given; pointers to buffers and texts
 * are read or written during the call only. lockstep_error's text belongs to the model.
 *
 * Shapes. All buffers are dense rows of floats, one row for each sample: x (samples, inputs),
 * targets (samples, targets), y (samples, outputs). x is what the network takes. A model of a table
 * takes what the columns of a row become: give it rows by lockstep_predict_row instead. Any other
 * model that was trained on standardised features standardises them itself. Images are flattened,
 * channels last, and their pixels are scaled by the caller as the recipe says: (byte / 255 -
 * pixel_mean) / pixel_sd.
 *
 *   task                  targets                              y
 *   LOCKSTEP_BINARY       1: 0 or 1                            1: probability of the 1
 *   LOCKSTEP_CLASSES      1: a whole number below `outputs`    outputs: probability of each class
 *   LOCKSTEP_REGRESSION   outputs: values                      outputs: values
 *
 * Values are in their own unit, also where the network learns them scaled. With loss.kind =
 * "quantile" outputs are the quantiles of each value, in ascending order, and targets are the
 * values.
 *
 * Threads. Models are independent: different threads may use different models at the same time.
 * One model serves one thread at a time; many threads predict by one model through a
 * lockstep_predictor. There is no global state.
 *
 * Errors. Functions that can fail return LOCKSTEP_OK (0) or a code; a text of one line says what
 * failed and what to do. NULL where something is needed is LOCKSTEP_INVALID, never a crash. No C++
 * exception leaves a function. A call that fails, with whatever code, has changed nothing but the
 * text: a model predicts, trains and is saved as if it had not been made. One failure cannot be
 * undone: where ranks lose each other while new weights are on their way between them, every call
 * on the model is LOCKSTEP_IO from then on. Destroy it, and load what was saved.
 *
 * The same recipe, seed and calls give the same bits on any number of threads.
 */
#ifndef LOCKSTEP_TOOLS_CAPI_LOCKSTEP_H_
#define LOCKSTEP_TOOLS_CAPI_LOCKSTEP_H_

#include <stddef.h>
#include <stdint.h>

/* The release that this header is of; lockstep_version says which library runs. To compare:
 * #if LOCKSTEP_VERSION >= 200 is true from 0.2.0 on. */
#define LOCKSTEP_VERSION_MAJOR 0
#define LOCKSTEP_VERSION_MINOR 1
#define LOCKSTEP_VERSION_PATCH 0
#define LOCKSTEP_VERSION 100 /* major * 10000 + minor * 100 + patch */
#define LOCKSTEP_VERSION_TEXT "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lockstep_model lockstep_model;

typedef enum lockstep_code {
  LOCKSTEP_OK = 0,
  LOCKSTEP_INVALID = 1,       /* an argument, a setting or a shape does not fit */
  LOCKSTEP_NOT_FOUND = 2,     /* a file, a key or a name is not there */
  LOCKSTEP_CORRUPT = 3,       /* a file's content contradicts its format */
  LOCKSTEP_IO = 4,            /* the operating system refused */
  LOCKSTEP_NON_FINITE = 5,    /* a loss or gradient became NaN or infinite */
  LOCKSTEP_OUT_OF_MEMORY = 6, /* a smaller batch or model needs less */
  LOCKSTEP_INTERNAL = 7       /* a bug in Lockstep; the text helps to report it */
} lockstep_code;

typedef enum lockstep_task {
  LOCKSTEP_TASK_AUTO =
      0, /* by the recipe's loss.kind and data.task; else by outputs: 1 is binary */
  LOCKSTEP_BINARY = 1,
  LOCKSTEP_CLASSES = 2,
  LOCKSTEP_REGRESSION = 3
} lockstep_task;

/* The processes that train a model together: lockstep_mpi.h makes it of an MPI communicator. */
typedef struct lockstep_ranks lockstep_ranks;

/* Zeros are the defaults: lockstep_options options = {0}; or pass NULL. */
typedef struct lockstep_options {
  /* 0, or sizeof(lockstep_options). Later versions add fields at the end and change none: a program
   * and a library of different versions understand each other. 0 stands for the fields of version
   * 0.1, all those below; who sets one that came later sets the size, too. Fields that the library
   * does not know yet must be 0, else LOCKSTEP_INVALID. */
  size_t size;
  /* Threads, the caller's included. 0: as the recipe says (train.threads), and where that is 0 as
   * many as this process may use. Work that is too small to gain runs on the caller alone. */
  int threads;
  /* Not 0: work in the TBB arena that the creating call is made in, the host program's own, and not
   * in one of the model's. */
  int join_host_arena;
  /* Not 0: a model to predict with, which needs less memory and cannot be trained. */
  int predict_only;
  /* Not 0: samples have weights, see lockstep_train_step_weighted. */
  int weighted;
  /* The most samples in a training step, and how many are predicted at a time; 0: the recipe's
   * train.batch. */
  int64_t batch;
  /* For recipes only, a saved model knows: inputs, outputs and task of the network. With inputs = 0
   * all three are those of the recipe's own data, which are then read once, to see their shape and
   * to measure how features are to be standardised. Otherwise no data are read and features are
   * taken as they come; outputs = 0 is 1. */
  int64_t inputs;
  int64_t outputs;
  lockstep_task task;
  /* NULL: this process alone. Else all ranks make the model with the same arguments, and each holds
   * the same weights after each step; train.shards of the recipe, divided by the ranks, must be a
   * power of two. Outlives the model. */
  lockstep_ranks* ranks;
} lockstep_options;

/* Makes a model, from a recipe file, from a recipe's text, or from what lockstep_save or `lockstep
 * train` wrote. Puts it into *model, or NULL there and the reason into error (error_size bytes,
 * always terminated; may be NULL with 0). Keys that a recipe does not name have their defaults.
 *
 * A loaded model predicts the same bits as the saved one. From lockstep_save's files training goes
 * on to the same bits too; from those of a run, the best weights are taken and the optimizer starts
 * afresh. */
lockstep_code lockstep_create(const char* recipe_path, const lockstep_options* options,
                              lockstep_model** model, char* error, size_t error_size);
lockstep_code lockstep_create_from_text(const char* recipe, const lockstep_options* options,
                                        lockstep_model** model, char* error, size_t error_size);
lockstep_code lockstep_load(const char* path, const lockstep_options* options,
                            lockstep_model** model, char* error, size_t error_size);

/* NULL is allowed. */
void lockstep_destroy(lockstep_model* model);

/* One step of the recipe's optimizer, at its learning rate and with its clipping, on 1 <= samples
 * <= lockstep_batch samples. *loss (may be NULL): the mean loss before the step; NaN if the recipe
 * leaves batches of this size out (model.single_value = "skip"), and nothing has changed then. What
 * belongs to whole runs (epochs, schedule, validation, average of the weights) is the caller's.
 * A step that fails, LOCKSTEP_NON_FINITE and a class that is not there included, leaves the model
 * as it was. Allocates nothing from the second step on. */
lockstep_code lockstep_train_step(lockstep_model* model, int64_t samples, const float* x,
                                  const float* targets, double* loss);

/* The same where samples have weights, numbers from 0: the loss is the sum of w_i loss_i over the
 * sum of w_i. Of a model made with options.weighted, whose lockstep_train_step has all weights 1.
 * Where all are 0 nothing is learned, and *loss is NaN. */
lockstep_code lockstep_train_step_weighted(lockstep_model* model, int64_t samples, const float* x,
                                           const float* targets, const float* weights,
                                           double* loss);

/* With options.ranks: which samples of a step on `samples` in all are this rank's, counted from
 * *first (may be NULL); returns how many. All ranks then call lockstep_train_step with the
 * `samples` of all, and x and targets hold the rows of their own; *loss is that of all. A step that
 * fails on one rank fails on each. Without ranks all samples. lockstep_save is called by all ranks,
 * too, with the same path; lockstep_predict is each rank's own affair. */
int64_t lockstep_share(const lockstep_model* model, int64_t samples, int64_t* first);

/* The learning rate of the following steps, 0 or more, for schedules. The recipe's holds before,
 * and again in a loaded model. */
lockstep_code lockstep_set_learning_rate(lockstep_model* model, double learning_rate);

/* y of any number of samples >= 0, in evaluation mode. A sample gets the same bits alone as among
 * others. x and y do not overlap. Allocates nothing. */
lockstep_code lockstep_predict(lockstep_model* model, int64_t samples, const float* x, float* y);

/* How y changes with x: jacobian (samples, outputs, inputs) receives d y / d x of each sample, in
 * the units of lockstep_predict's y and x, in evaluation mode; of features that are constant in the
 * training data, or NaN in x, 0. Any number of samples >= 0. The first call makes memory of its
 * own, as much as a training step takes; later ones allocate nothing. LOCKSTEP_INVALID where x is
 * whole numbers (tokens), which have no derivatives. */
lockstep_code lockstep_jacobian(lockstep_model* model, int64_t samples, const float* x,
                                float* jacobian);

/* ---- Models of a table: rows as they stand in a file --------------------------------------- */

typedef enum lockstep_kind {
  LOCKSTEP_NUMBER = 1,
  LOCKSTEP_YES_NO = 2,
  LOCKSTEP_CATEGORY = 3,
  LOCKSTEP_DATE = 4
} lockstep_kind;

/* The columns that a row needs, in the order of the table that the model was trained on: 0 for a
 * model of anything else. Their names and kinds, and the categories that the model knows; NULL and
 * 0 for what there is none of. Texts are UTF-8 and live as long as the model. */
int64_t lockstep_columns(const lockstep_model* model);
const char* lockstep_column_name(const lockstep_model* model, int64_t column);
lockstep_kind lockstep_column_kind(const lockstep_model* model, int64_t column);
int64_t lockstep_categories(const lockstep_model* model, int64_t column);
const char* lockstep_category(const lockstep_model* model, int64_t column, int64_t category);

/* What a row is answered with: how many numbers, and what each is. Binary: one, the probability of
 * the class so named. Classes: the probability of each class. Regression: "value", in its own unit;
 * with loss.kind = "quantile" also "low" and "high", or "quantile 0.1", all in ascending order. */
int64_t lockstep_answers(const lockstep_model* model);
const char* lockstep_answer_name(const lockstep_model* model, int64_t answer);

/* Predicts for one row of `cells` cells, in any order, each under the name of its column. Names
 * that the model does not need are left alone; a column that it needs and that is not given is an
 * error that names it. texts[i] is the cell as the table would have it ("12.5", "Oslo",
 * "2020-04-03"); where texts or texts[i] is NULL, numbers[i] is the cell (a date: days since
 * 1970-01-01, of a column of times of the day the fraction alone; yes: 1, no: 0). "" and NaN are missing. `answers` receives lockstep_answers doubles.
 * *predicted (may be NULL): the predicted class, 0 the first of two; -1 for a regression. *unseen
 * (may be NULL): how many categories the model has never seen, which is no error. */
lockstep_code lockstep_predict_row(lockstep_model* model, int64_t cells, const char* const* names,
                                   const char* const* texts, const double* numbers, double* answers,
                                   int64_t* predicted, int64_t* unseen);

/* Why: how much each of lockstep_columns contributes, against a row that is as usual in everything
 * (`contributions` receives a double for each). They add up to *told - *usual (may be NULL): of a
 * regression the value in its own unit, else the log-odds ln(p / (1 - p)) of a class, of the second
 * of two, of the predicted one of several. The same row gives the same numbers. */
lockstep_code lockstep_explain_row(lockstep_model* model, int64_t cells, const char* const* names,
                                   const char* const* texts, const double* numbers,
                                   double* contributions, double* told, double* usual);

/* ---- Predictions on many threads ------------------------------------------------------------ */

/* A copy of a model's weights, to predict with on any number of threads at once, each with a worker
 * of its own: little memory, and no lock. The model may go on training, and be destroyed. What is
 * published by lockstep_predictor_update is used by calls that begin after it; each call uses the
 * weights of one publication. */
typedef struct lockstep_predictor lockstep_predictor;
typedef struct lockstep_worker lockstep_worker;

/* `batch`: how many samples a worker computes at a time, which decides its memory; 0: as many as
 * the model. Puts the predictor into *predictor, or NULL there and the reason into error. No thread
 * uses the model meanwhile. */
lockstep_code lockstep_predictor_create(const lockstep_model* model, int64_t batch,
                                        lockstep_predictor** predictor, char* error,
                                        size_t error_size);
/* Publishes a model's weights of now, with its temperature and how it standardises: of the model
 * that the predictor was made of, or one of the same layers. Any thread, while others predict; but
 * no thread uses the model meanwhile. One that fails has changed nothing. */
lockstep_code lockstep_predictor_update(lockstep_predictor* predictor, const lockstep_model* model,
                                        char* error, size_t error_size);
/* NULL is allowed. Its workers may go on. */
void lockstep_predictor_destroy(lockstep_predictor* predictor);

/* A worker serves one thread at a time. */
lockstep_code lockstep_worker_create(const lockstep_predictor* predictor, lockstep_worker** worker,
                                     char* error, size_t error_size);
/* As lockstep_predict, with the same bits, on the calling thread alone. Allocates nothing. */
lockstep_code lockstep_worker_predict(lockstep_worker* worker, int64_t samples, const float* x,
                                      float* y);
/* As lockstep_predict_row. The model is that of the predictor, for its columns: it may be trained
 * meanwhile, and not be destroyed. */
lockstep_code lockstep_worker_predict_row(lockstep_worker* worker, const lockstep_model* model,
                                          int64_t cells, const char* const* names,
                                          const char* const* texts, const double* numbers,
                                          double* answers, int64_t* predicted, int64_t* unseen);
/* Why the last call on this worker has failed; "" if it did not. Valid until the next. */
const char* lockstep_worker_error(const lockstep_worker* worker);
/* NULL is allowed. */
void lockstep_worker_destroy(lockstep_worker* worker);

/* ---- The model itself ------------------------------------------------------------------------ */

/* LOCKSTEP_BINARY: the probability above which the model says a positive; 0.5 unless a run chose
 * another one on its validation samples (train.threshold). It belongs to the weights, as the
 * temperature does that probabilities may be calibrated with: a training step undoes both. 0.5 for
 * NULL. */
double lockstep_threshold(const lockstep_model* model);

/* Writes everything to a safetensors file, which `lockstep eval`, `predict` and `inspect` take too;
 * the file appears whole or not at all. */
lockstep_code lockstep_save(lockstep_model* model, const char* path);

/* What the model is; 0 (LOCKSTEP_TASK_AUTO) for NULL. */
int64_t lockstep_inputs(const lockstep_model* model);
int64_t lockstep_outputs(const lockstep_model* model);
int64_t lockstep_targets(const lockstep_model* model); /* floats of a sample's target */
int64_t lockstep_batch(const lockstep_model* model);
int64_t lockstep_steps(const lockstep_model* model); /* training steps done so far */
lockstep_task lockstep_task_of(const lockstep_model* model);

/* The layers of the network, a line each, and totals: for people to read. NULL for NULL. Valid
 * until the next call of it on this model. */
const char* lockstep_summary(lockstep_model* model);

/* Why the last call on this model that can fail has failed; "" if it did not. Valid until the next
 * such call. */
const char* lockstep_error(const lockstep_model* model);

/* "0.1.0" */
const char* lockstep_version(void);

#ifdef __cplusplus
}
#endif

#endif /* LOCKSTEP_TOOLS_CAPI_LOCKSTEP_H_ */
