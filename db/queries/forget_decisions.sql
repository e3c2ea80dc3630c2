SELECT usher.forget_decisions(@user_id, @at_most)
