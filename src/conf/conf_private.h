/* conf/conf_private.h -- values as people type them (value.c), for conf.c and file.c. */
#ifndef FACTEUR_CONF_CONF_PRIVATE_H
#define FACTEUR_CONF_CONF_PRIVATE_H
#include "conf/conf.h"

enum conf_problem_kind conf_parse_value(const struct setting_row *row, struct str value, uint64_t *number);
struct str conf_show_number(struct arena *a, const struct setting_row *row, uint64_t number);
void conf_problem_word(struct conf_problem *p, struct str word);
#endif
