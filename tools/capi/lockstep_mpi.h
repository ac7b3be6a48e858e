/*
 * Lockstep for C, on the ranks of a program that uses MPI itself.
 *
 *   MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
 *   MPI_Comm comm = MPI_COMM_WORLD;
 *   lockstep_ranks* ranks = NULL;
 *   if (lockstep_ranks_of_mpi(&comm, &ranks, why, sizeof(why))) return fail(why);
 *   options.ranks = ranks;
 *   ... lockstep_create, lockstep_share, lockstep_train_step, lockstep_destroy ...
 *   lockstep_ranks_destroy(ranks);
 *   MPI_Finalize();
 *
 * Link with lockstep::mpi_c (CMake: find_package(lockstep COMPONENTS mpi_c)), which is linked with
 * the MPI that Lockstep was built with; the program must use the same one.
 */
#ifndef LOCKSTEP_TOOLS_CAPI_LOCKSTEP_MPI_H_
#define LOCKSTEP_TOOLS_CAPI_LOCKSTEP_MPI_H_

#include <lockstep.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `communicator` points to an MPI_Comm, of which a duplicate is used. Called by all its ranks, from
 * the thread that then trains: the one that called MPI_Init_thread, unless MPI was started with
 * MPI_THREAD_SERIALIZED or more. LOCKSTEP_INVALID with a text where Lockstep was built without MPI
 * or MPI does not run. */
lockstep_code lockstep_ranks_of_mpi(const void* communicator, lockstep_ranks** ranks, char* error,
                                    size_t error_size);

/* After the models that use it, before MPI_Finalize, by all ranks. NULL is allowed. */
void lockstep_ranks_destroy(lockstep_ranks* ranks);

#ifdef __cplusplus
}
#endif

#endif /* LOCKSTEP_TOOLS_CAPI_LOCKSTEP_MPI_H_ */
