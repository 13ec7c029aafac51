(* Two theorems about one session, for any number of ids, exchanges, nodes, logins and steps:

     a_dead_id_stays_dead          CLAIM-2, at the end of part 3
     before_the_login_is_outside   CLAIM-1, at the end of part 4

   and, so that nobody takes the first for granted, the store for which it is false: upsert_revives, part 5.

   Left out here, and in the proof by Z3 beside this file: writes that a store loses, cookies, who may react. Times are
   any numbers at all, so nothing rests on clocks. What an exchange read it may use any number of times and forever:
   retries, late requests and doubled ones are all among the steps. *)

Require Import Arith Lia List.
Import ListNotations.

(* --- 1. A record, and what it makes of an id ---------------------------------------------------------------------- *)

(* Of each generation at most one id is issued (LOGIN-1, ROT-3), so its generation names it. *)
Definition id := nat.

Record rec := {
  stamp : nat;            (* version and newest commit id: no two writes share it (STORE-2) *)
  current : id;
  shown : bool;           (* the client has presented the current id (ROT-5) *)
  previous : option nat;  (* until when the previous id works, once the current one was shown (ROT-5) *)
  floor : id;             (* the id that the present principal was given at login (LOGIN-1) *)
  who : option nat;
  ended : bool;
  deadline : nat;
  writers : list id       (* whose writes came since the last login, or since the beginning *)
}.

(* LIFE-4, LIFE-5: not ended, within its limits, not below the floor, and current, or previous in its grace. *)
Definition admits (r : rec) (i : id) (now : nat) : Prop :=
  ended r = false /\ now < deadline r /\ floor r <= i /\
  (i = current r \/
   (S i = current r /\ exists until, previous r = Some until /\ (shown r = false \/ now < until))).

(* Refused, and not for the time of day: ended, below the floor, or replaced and no longer the previous one. An id whose
   limit or grace has passed is answered as dead once that is written (TIME-8, ROT-7), which makes it one of these. *)
Definition dead_by (r : rec) (i : id) : Prop :=
  ended r = true \/ i < floor r \/ S i < current r \/ (S i = current r /\ previous r = None).

Lemma dead_is_refused r i now : dead_by r i -> ~ admits r i now.
Proof.
  intros D (E & _ & F & C).
  destruct D as [D | [D | [D | [D P]]]].
  - congruence.
  - lia.
  - destruct C as [-> | [C _]]; lia.
  - destruct C as [-> | [_ (until & Q & _)]]; [lia | congruence].
Qed.

(* --- 2. The steps ------------------------------------------------------------------------------------------------- *)

(* What one write makes of the record it is based on: [i] opened the exchange, [now] is its clock, [n] the stamp. *)
Inductive write (n : nat) (i : id) (now : nat) (r : rec) : rec -> Prop :=
| Data : admits r i now ->                                                       (* WRITE-1 *)
    write n i now r
      {| stamp := n; current := current r; shown := shown r; previous := previous r; floor := floor r; who := who r;
         ended := false; deadline := deadline r; writers := i :: writers r |}
| Confirm grace : admits r i now -> i = current r ->                             (* ROT-5 *)
    write n i now r
      {| stamp := n; current := current r; shown := true;
         previous := match previous r with None => None | Some _ => Some (now + grace) end;
         floor := floor r; who := who r; ended := false; deadline := deadline r; writers := writers r |}
| Rotate : admits r i now -> i = current r -> shown r = true ->                  (* ROT-1, ROT-3 *)
    write n i now r
      {| stamp := n; current := S (current r); shown := false; previous := Some 0; floor := floor r; who := who r;
         ended := false; deadline := deadline r; writers := writers r |}
| Login p limit : admits r i now -> who r = None \/ who r = Some p ->            (* LOGIN-1, LOGIN-3: elevation too *)
    write n i now r
      {| stamp := n; current := S (current r); shown := false; previous := None; floor := S (current r);
         who := Some p; ended := false; deadline := limit; writers := [] |}
| Forget until : previous r = Some until -> shown r = true -> until <= now ->    (* ROT-7 *)
    write n i now r
      {| stamp := n; current := current r; shown := true; previous := None; floor := floor r; who := who r;
         ended := ended r; deadline := deadline r; writers := writers r |}
| End : write n i now r                                                          (* END-1, TIME-8, REUSE-1 *)
      {| stamp := n; current := current r; shown := shown r; previous := None; floor := floor r; who := who r;
         ended := true; deadline := deadline r; writers := writers r |}.

Record state := {
  store : option rec;
  next : nat;               (* no stamp from here on was used *)
  read : list rec;          (* every record that some exchange has read *)
  dead : list id;           (* ids that were answered as dead *)
  planted : list id;        (* ids that the attacker may know: issued while nobody was logged in *)
  accesses : list (id * rec)
}.

Inductive step (upsert : bool) (s : state) : state -> Prop :=
(* Opening by an id that is admitted: an access. *)
| Open i now r : store s = Some r -> admits r i now ->
    step upsert s {| store := store s; next := next s; read := r :: read s; dead := dead s; planted := planted s;
                     accesses := (i, r) :: accesses s |}
(* Reading without access: a load, or what a refused swap shows (WRITE-2). *)
| Read r : store s = Some r ->
    step upsert s {| store := store s; next := next s; read := r :: read s; dead := dead s; planted := planted s;
                     accesses := accesses s |}
(* An answer that an id is dead: the record says so for good, or there is none (LIFE-4). *)
| Answer i : match store s with Some r => dead_by r i | None => True end ->
    step upsert s {| store := store s; next := next s; read := read s; dead := i :: dead s; planted := planted s;
                     accesses := accesses s |}
(* A swap lands: what is stored has the stamp of the record that the write is based on (STORE-1). *)
| Swap i now r c r' : In r (read s) -> store s = Some c -> stamp c = stamp r -> write (next s) i now r r' ->
    step upsert s {| store := Some r'; next := S (next s); read := read s; dead := dead s; planted := planted s;
                     accesses := accesses s |}
(* Garbage is collected, or an ending leaves no tombstone (END-5). No handle is created twice (WRITE-13). *)
| Remove :
    step upsert s {| store := None; next := next s; read := read s; dead := dead s; planted := planted s;
                     accesses := accesses s |}
(* The attacker learns an id that was issued before any login. *)
| Plant i r : store s = Some r -> who r = None -> i <= current r ->
    step upsert s {| store := store s; next := next s; read := read s; dead := dead s; planted := i :: planted s;
                     accesses := accesses s |}
(* Not Coatroom's (STORE-1), but that of many stores: a write on a record that is gone stores it. *)
| Upsert i now r r' : upsert = true -> In r (read s) -> store s = None -> write (next s) i now r r' ->
    step upsert s {| store := Some r'; next := S (next s); read := read s; dead := dead s; planted := planted s;
                     accesses := accesses s |}.

(* A new session, of a visitor or by a login. *)
Definition created (p : option nat) (limit : nat) : state :=
  {| store := Some {| stamp := 0; current := 0; shown := false; previous := None; floor := 0; who := p; ended := false;
                      deadline := limit; writers := [] |};
     next := 1; read := []; dead := []; planted := []; accesses := [] |}.

Inductive steps (upsert : bool) : state -> state -> Prop :=
| None_more s : steps upsert s s
| One_more s t u : steps upsert s t -> step upsert t u -> steps upsert s u.

Definition reachable (s : state) : Prop := exists p limit, steps false (created p limit) s.

(* --- 3. A dead id stays dead -------------------------------------------------------------------------------------- *)

Lemma admitted_is_issued r i now : admits r i now -> ended r = false /\ floor r <= i <= current r.
Proof. intros (E & _ & F & [-> | [C _]]); split; lia || assumption. Qed.

Lemma write_keeps_dead n i now r r' j : write n i now r r' -> dead_by r j -> dead_by r' j.
Proof.
  intros W D; unfold dead_by in *; destruct W as [A | grace A | A | p limit A | until P | ]; simpl;
    try apply admitted_is_issued in A as (A & F & C); destruct D as [D | [D | [D | [D Q]]]];
    try congruence; try rewrite Q; auto; try (right; left; lia); try (right; right; left; lia).
Qed.

Lemma write_stamps n i now r r' : write n i now r r' -> stamp r' = n.
Proof. intros W; destruct W; reflexivity. Qed.

Definition sound (s : state) : Prop :=
  (forall c, store s = Some c -> stamp c < next s) /\
  (forall r, In r (read s) -> stamp r < next s) /\
  (forall r c, In r (read s) -> store s = Some c -> stamp c = stamp r -> c = r) /\
  (forall i c, In i (dead s) -> store s = Some c -> dead_by c i).

Lemma created_is_sound p limit : sound (created p limit).
Proof. repeat split; simpl; intros; try contradiction; inversion H; simpl; lia. Qed.

Lemma step_is_sound s t : sound s -> step false s t -> sound t.
Proof.
  intros (A & B & C & D) T.
  destruct T as [i now r E _ | r E | i E | i now r c r' I E M W | | i r E _ _ | i now r r' U]; [.. | discriminate];
    unfold sound; simpl.
  - repeat split; auto; intros r'; intros; destruct H; subst; eauto; congruence.
  - repeat split; auto; intros r'; intros; destruct H; subst; eauto; congruence.
  - repeat split; auto. intros j c [-> | I] F; [rewrite F in E; exact E | eauto].
  - assert (stamp r' = next s) as N by (eapply write_stamps; eauto).
    assert (c = r) as -> by eauto.
    repeat split.
    + intros c F. injection F as <-. lia.
    + intros x I'. apply B in I'. lia.
    + intros x c I' F G. injection F as <-. apply B in I'. lia.
    + intros j c I' F. injection F as <-. eapply write_keeps_dead; eauto.
  - repeat split; auto; intros; discriminate.
  - repeat split; auto.
Qed.

Lemma steps_are_sound s t : sound s -> steps false s t -> sound t.
Proof. intros A S; induction S; eauto using step_is_sound. Qed.

Lemma dead_is_kept s t i : steps false s t -> In i (dead s) -> In i (dead t).
Proof. intros S I; induction S; auto. destruct H; simpl; auto. Qed.

(* Whatever happens after an id was answered as dead, at no reading of any clock does the store admit it. *)
Theorem a_dead_id_stays_dead s t i r now :
  reachable s -> In i (dead s) -> steps false s t -> store t = Some r -> ~ admits r i now.
Proof.
  intros (p & limit & R) I S E.
  assert (sound s) as A by (eapply steps_are_sound; eauto using created_is_sound).
  assert (sound t) as (_ & _ & _ & D) by (eapply steps_are_sound; eauto).
  apply dead_is_refused, D; [eapply dead_is_kept; eauto | exact E].
Qed.

(* --- 4. An id from before the login never reaches it -------------------------------------------------------------- *)

Definition outside (i : id) (r : rec) : Prop := who r <> None -> i < floor r /\ ~ In i (writers r).

Lemma write_keeps_outside n i now r r' j :
  write n i now r r' -> (who r = None -> j <= current r) -> outside j r -> outside j r'.
Proof.
  unfold outside. intros W V O L; destruct W as [A | grace A | A | p limit A | until P | ]; simpl in *; auto.
  - destruct (O L) as (F & N). apply admitted_is_issued in A as (_ & G).
    split; [exact F | intros [<- | I]; [lia | contradiction]].
  - split; [|tauto]. apply admitted_is_issued in A as (_ & G).
    destruct (who r) eqn:Who; [destruct O as (F & _); [congruence|] | specialize (V eq_refl)]; lia.
Qed.

Lemma visitors_before_visitors n i now r r' :
  write n i now r r' -> who r' = None -> who r = None /\ current r <= current r'.
Proof. intros W E; destruct W; simpl in *; try congruence; split; auto. Qed.

Definition apart (s : state) : Prop :=
  (forall c, store s = Some c -> who c = None ->
     (forall r, In r (read s) -> who r = None) /\ (forall i r, In (i, r) (accesses s) -> who r = None) /\
     (forall i, In i (planted s) -> i <= current c)) /\
  (forall i, In i (planted s) ->
     (forall c, store s = Some c -> outside i c) /\ (forall r, In r (read s) -> outside i r) /\
     (forall r, In (i, r) (accesses s) -> who r = None)).

Lemma created_is_apart p limit : apart (created p limit).
Proof. split; simpl; intros; try contradiction. repeat split; intros; contradiction. Qed.

Lemma step_is_apart s t : sound s -> apart s -> step false s t -> apart t.
Proof.
  intros (_ & _ & Same & _) (V & P) T.
  destruct T as [i now r E A | r E | i _ | i now r c r' I E M W | | i r E Who Le | i now r r' U]; [.. | discriminate];
    unfold apart; simpl.
  - split.
    + intros c F N. rewrite E in F; injection F as <-. destruct (V _ E N) as (R & X & Y).
      split; [|split]; auto.
      * intros x [<- | H]; auto.
      * intros j x [H | H]; [congruence | eauto].
    + intros j J. destruct (P j J) as (S & R & X). split; [|split]; auto.
      * intros x [<- | H]; auto.
      * intros x [H | H]; [injection H as -> -> | eauto]. apply admitted_is_issued in A as (_ & G).
        destruct (who x) eqn:Q; [|reflexivity]. destruct (S x E) as (L & _); [congruence | lia].
  - split.
    + intros c F N. destruct (V _ F N) as (R & X & Y). rewrite E in F; injection F as <-.
      split; [|split]; auto. intros x [<- | H]; auto.
    + intros j J. destruct (P j J) as (S & R & X). split; [|split]; auto. intros x [<- | H]; auto.
  - split; assumption.
  - assert (c = r) as -> by eauto.
    split.
    + intros c F N. injection F as <-. destruct (visitors_before_visitors _ _ _ _ _ W N) as (N' & Le).
      destruct (V _ E N') as (R & X & Y). split; [|split]; auto. intros j J. specialize (Y j J). lia.
    + intros j J. destruct (P j J) as (S & R & X). split; [|split]; auto.
      intros c F. injection F as <-. eapply write_keeps_outside; eauto. intros N. exact (proj2 (proj2 (V _ E N)) j J).
  - split; [discriminate|]. intros j J. destruct (P j J) as (S & R & X). split; [|split]; auto; discriminate.
  - destruct (V _ E Who) as (R & X & Y). split.
    + intros c F N. rewrite E in F; injection F as <-. split; [|split]; auto. intros j [<- | J]; auto.
    + intros j [<- | J]; [|auto]. split; [|split; [|eauto]].
      * intros c F L. rewrite E in F; injection F as <-. congruence.
      * intros c F L. specialize (R c F). congruence.
Qed.

Lemma steps_are_apart s t : sound s -> apart s -> steps false s t -> sound t /\ apart t.
Proof.
  intros A B S; induction S; [auto|]. destruct (IHS A B). split; [eapply step_is_sound | eapply step_is_apart]; eauto.
Qed.

(* What the attacker knew of the session before anybody logged in is of no use to him: every access by it was to a
   record without a login, no record with a login admits it, at any reading of any clock, and none of its writes is in
   one but those that the visitor brought along. *)
Theorem before_the_login_is_outside s i :
  reachable s -> In i (planted s) ->
  (forall r, In (i, r) (accesses s) -> who r = None) /\
  (forall r, store s = Some r -> who r <> None -> (forall now, ~ admits r i now) /\ ~ In i (writers r)).
Proof.
  intros (p & limit & R) I.
  assert (sound s /\ apart s) as (_ & _ & P).
  { revert R; apply steps_are_apart; auto using created_is_sound, created_is_apart. }
  destruct (P i I) as (S & _ & X). split; [exact X|].
  intros r E L. destruct (S r E L) as (F & N). split; [|exact N].
  intros now A. apply admitted_is_issued in A as (_ & G). lia.
Qed.

(* --- 5. The theorems can fail, and do not hold for want of steps -------------------------------------------------- *)

Lemma then_step u s t v : step u s t -> steps u t v -> steps u s v.
Proof. intros A B; induction B; econstructor; eauto; constructor. Qed.

Ltac admitted := unfold admits; simpl; repeat split; try lia; auto.

(* With an upsert an id that was answered as dead is admitted again. *)
Example upsert_revives :
  exists s t i r, steps true (created None 9) s /\ In i (dead s) /\ steps true s t /\ store t = Some r /\ admits r i 0.
Proof.
  do 4 eexists. split; [|split; [|split; [|split]]].
  - eapply then_step; [eapply Read; reflexivity|].
    eapply then_step; [apply Remove|].
    eapply then_step; [apply (Answer _ _ 0); exact I | apply None_more].
  - left. reflexivity.
  - eapply then_step; [|apply None_more].
    eapply (Upsert _ _ 0 0); [reflexivity | left; reflexivity | reflexivity | apply Data; admitted].
  - reflexivity.
  - admitted.
Qed.

(* There is a login after an id was planted, and the id is answered as dead while the login lives. *)
Example planted_then_login :
  exists s r, reachable s /\ In 0 (planted s) /\ In 0 (dead s) /\ store s = Some r /\ who r = Some 7 /\ admits r 1 0.
Proof.
  do 2 eexists. split; [exists None, 9 | split; [|split; [|split; [|split]]]].
  - eapply then_step; [eapply (Plant _ _ 0); simpl; auto|].
    eapply then_step; [eapply (Open _ _ 0 0); [reflexivity | admitted]|].
    eapply then_step.
    { eapply (Swap _ _ 0 0); [left; reflexivity | reflexivity | reflexivity |].
      apply (Login _ _ _ _ 7 9); [admitted | auto]. }
    eapply then_step; [apply (Answer _ _ 0); unfold dead_by; simpl; lia | apply None_more].
  - left. reflexivity.
  - left. reflexivity.
  - reflexivity.
  - reflexivity.
  - admitted.
Qed.

Print Assumptions a_dead_id_stays_dead.
Print Assumptions before_the_login_is_outside.
