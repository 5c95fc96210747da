/* SPDX-License-Identifier: BSD-3-Clause */
/* writer -- what the engine asks of a writer besides what mosbox.h declares */
#ifndef MB_IO_WRITER_H
#define MB_IO_WRITER_H

#include "io/lane.h"
#include "mosbox.h"

/* LINKTYPE_ number that the file was opened for: all its packets are of it. */
int mb__writer_link(const struct mb_writer *w);

/* What is written from now on goes into |lane| (borrowed); what waits in the
 * buffer is another process's to write. */
void mb__writer_lane(struct mb_writer *w, struct mb__lane *lane);
void mb__output_lane(struct mb_output *o, struct mb__lane *lane);
/* The way out of both, for who writes what lanes bring. */
struct mb__drain *mb__writer_drain(struct mb_writer *w);
struct mb__drain *mb__output_drain(struct mb_output *o);

#endif
